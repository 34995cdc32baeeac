//! Owns scripts that once failed, made short: what was removed or moved away while others went on with it.

use super::named::{holds, person, script, script_holds};
use super::script::{Act, Deed, Script};

/// Seed 31244: the source of a rename over a file had been removed by others, but for another name: the file came
/// back.
#[test]
fn what_is_renamed_over_goes_though_others_removed_what_took_its_place() {
    let did = vec![
        person(11_489, 0, Deed::Create, 7_115_135_224_409_184_407),
        person(13_043, 0, Deed::Symlink, 11_391_097_319_595_183_558),
        person(13_993, 1, Deed::Create, 12_751_836_295_796_831_990),
        person(14_697, 1, Deed::Unlink, 4_375_341_356_944_119_258),
        (299_390, 1, Act::Cut(false)),
        person(408_386, 1, Deed::Link, 13_119_626_315_175_632_698),
        person(408_501, 1, Deed::Replace, 11_680_906_682_511_116_757),
        person(408_597, 1, Deed::Truncate, 5_319_151_663_878_174_535),
        person(760_810, 1, Deed::Rename, 15_163_982_809_870_956_221),
        person(782_272, 0, Deed::BackupSave, 14_497_335_705_337_239_876),
        person(1_000_669, 1, Deed::Create, 10_030_568_316_367_378_781),
        person(1_001_055, 1, Deed::SafeSave, 6_273_774_575_070_872_392),
        person(1_091_246, 1, Deed::Rename, 10_097_166_498_933_378_540),
    ];
    holds(31_244, 2, 120, did);
}

/// Seed 31285: a file was removed in a folder that others had removed and made anew: the answer told of the new
/// folder only, the file showed in the old one, and its unsent bytes were sent.
#[test]
fn what_is_removed_in_a_folder_that_others_made_anew_stays_removed() {
    let did = vec![
        person(8_852, 0, Deed::MakeDir, 17_421_749_709_074_385_048),
        person(10_995, 1, Deed::Rename, 17_865_641_892_944_946_376),
        person(11_655, 1, Deed::Create, 4_472_545_022_985_750_451),
        person(12_030, 0, Deed::Create, 2_398_255_144_371_150_828),
        person(12_146, 0, Deed::Create, 18_239_445_449_210_635_611),
        person(12_258, 1, Deed::Create, 8_912_410_784_711_425_111),
        person(29_416, 2, Deed::MakeDir, 8_723_961_717_419_897_521),
        (71_578, 1, Act::Cut(true)),
        person(174_439, 1, Deed::Unlink, 10_269_025_966_915_088_467),
        person(813_484, 0, Deed::RemoveTree, 3_447_758_594_778_337_645),
        person(926_028, 0, Deed::MakeDir, 17_746_153_994_802_764_194),
        person(938_565, 1, Deed::Append, 344_442_178_833_079_214),
        person(941_433, 1, Deed::Rename, 12_788_218_425_546_989_167),
        person(1_013_578, 1, Deed::Unlink, 2_064_190_595_913_163_059),
    ];
    holds(31_285, 4, 0, did);
}

/// Seed 9070: a full pull took a file away that a queued rename was to bring back.
#[test]
fn a_file_with_a_queued_rename_stays_in_sight_over_a_full_pull() {
    let did = vec![
        person(7_018, 3, Deed::Symlink, 5_900_657_641_852_229_666),
        person(11_996, 2, Deed::Replace, 14_609_230_122_596_911_761),
        person(18_836, 2, Deed::MakeDir, 7_928_133_729_257_097_727),
        person(19_040, 2, Deed::MakeDir, 3_921_611_802_464_626_904),
        person(19_230, 1, Deed::Create, 9_735_375_802_199_490_378),
        person(19_599, 1, Deed::Rename, 9_649_107_463_817_710_467),
        person(20_116, 0, Deed::BackupSave, 14_154_374_172_648_665_640),
        person(22_566, 1, Deed::Replace, 4_462_383_691_074_508_321),
    ];
    holds(9070, 4, 120, did);
}

/// Seed 32215: an answer told of a folder's end before a pull told of that of what was in it.
#[test]
fn a_folder_that_is_gone_keeps_what_is_in_it_until_that_is_gone() {
    let did = vec![
        person(12_848, 2, Deed::Create, 15_887_776_988_825_999_313),
        person(19_291, 3, Deed::Create, 1_801_336_909_166_894_218),
        person(115_608, 0, Deed::Create, 5_805_906_861_124_539_846),
        person(457_163, 0, Deed::MakeDir, 1_955_877_669_135_151_109),
        person(467_062, 3, Deed::Rename, 3_733_145_831_457_835_570),
        person(498_151, 1, Deed::MakeDir, 10_653_746_790_516_368_302),
        person(500_912, 1, Deed::MakeDir, 9_762_996_684_984_890_658),
        person(574_877, 2, Deed::Rename, 15_973_395_264_434_529_050),
        person(575_416, 2, Deed::MakeDir, 17_945_942_584_480_964_955),
        person(593_647, 2, Deed::Rename, 17_722_219_634_473_984_181),
        (752_904, 3, Act::Cut(false)),
        person(861_542, 2, Deed::RemoveTree, 4_934_017_327_425_164_541),
        person(965_713, 1, Deed::Rename, 11_585_683_489_473_078_717),
        person(1_017_153, 3, Deed::Link, 6_755_959_658_956_421_586),
    ];
    holds(32_215, 4, 0, did);
}

/// Seed 32426: a device that was put back to a copy of itself sent a write again that was a conflict already.
#[test]
fn a_conflict_that_comes_again_from_a_copied_device_is_one_sibling() {
    let did = vec![
        person(82_328, 1, Deed::Create, 17_287_664_946_122_517_827),
        person(108_178, 0, Deed::Create, 16_627_829_004_470_154_938),
        (126_860, 3, Act::Cut(true)),
        person(140_402, 3, Deed::SafeSave, 4_771_983_298_466_005_439),
        (468_709, 3, Act::Backup),
        person(499_624, 4, Deed::Overwrite, 12_079_284_243_004_399_571),
        (839_039, 3, Act::Heal),
        (907_379, 3, Act::RollBack),
    ];
    holds(32_426, 5, 0, did);
}

/// Seed 40205: a folder that was made here turned out to be one of others', with a file of which the same answer told.
#[test]
fn what_an_answer_tells_of_in_a_folder_that_is_another_appears_in_it() {
    let did = vec![
        person(4_946, 3, Deed::MakeDir, 16_363_787_081_768_592_128),
        person(5_286, 3, Deed::Create, 18_080_390_632_182_995_521),
        person(11_684, 2, Deed::BackupSave, 14_861_945_472_277_106_229),
        person(11_939, 2, Deed::MakeDir, 12_471_591_992_458_099_526),
        person(12_716, 0, Deed::MakeDir, 9_131_818_055_644_979_038),
        person(20_402, 0, Deed::Rename, 14_240_130_637_784_010_861),
        person(163_106, 2, Deed::Read, 2_740_386_431_745_303_599),
    ];
    holds(40_205, 4, 120, did);
}

/// Seed 41667: the bytes of a conflict went to its sibling, which had been written to since.
#[test]
fn bytes_go_to_a_sibling_only_while_it_shows_them() {
    let did = vec![
        person(171_893, 3, Deed::MakeDir, 13_855_432_458_030_236_651),
        (191_331, 0, Act::BackUpServer),
        person(266_711, 0, Deed::Create, 14_239_366_299_211_154_758),
        person(527_616, 1, Deed::Chmod, 13_537_330_935_359_596_863),
        person(533_195, 1, Deed::Append, 2_957_486_634_910_660_289),
        person(567_112, 2, Deed::MakeDir, 14_769_288_854_657_616_300),
        person(571_676, 2, Deed::Create, 8_208_436_935_349_256_147),
        person(572_225, 2, Deed::MakeDir, 8_474_716_437_641_755_755),
        (577_972, 3, Act::Cut(true)),
        person(646_685, 0, Deed::Append, 2_115_669_368_768_445_515),
        person(657_095, 3, Deed::Append, 513_526_425_388_416_823),
        (696_707, 0, Act::PutServerBack(true)),
        (709_480, 3, Act::Heal),
        person(732_147, 1, Deed::Exchange, 12_063_884_016_234_025_947),
        person(737_660, 1, Deed::Append, 1_310_939_642_455_606_275),
    ];
    holds(41_667, 4, 0, did);
}

/// Seed 41856: bytes that were on their way were sent by a name that was taken next, and others had removed the one
/// that stayed.
#[test]
fn what_is_on_its_way_is_sent_by_the_name_that_stays() {
    let did = vec![
        person(479_884, 1, Deed::MakeDir, 16_283_344_342_013_827_878),
        person(480_268, 1, Deed::Symlink, 5_795_449_225_566_259_543),
        person(486_568, 1, Deed::Create, 14_707_505_951_410_310_835),
        person(606_413, 0, Deed::MakeDir, 5_429_481_150_608_083_932),
        person(606_568, 0, Deed::Link, 15_940_609_003_794_571_433),
        person(607_346, 0, Deed::Rename, 4_431_160_008_655_176_646),
        (631_333, 1, Act::Cut(false)),
        person(775_720, 1, Deed::Append, 17_464_803_023_596_413_228),
        person(777_185, 1, Deed::Rename, 11_517_101_644_252_837_415),
        person(835_404, 0, Deed::Unlink, 3_950_973_490_803_293_899),
        person(1_127_613, 0, Deed::Unlink, 8_542_433_718_110_429_740),
        person(1_135_178, 0, Deed::Unlink, 8_981_263_739_603_327_718),
        person(1_138_291, 1, Deed::Overwrite, 13_136_271_169_751_523_458),
    ];
    holds(41_856, 2, 0, did);
}

/// Seed 41628: what an answer brought back was not found under its name before, and the kernel knew that.
#[test]
fn what_comes_back_under_a_name_that_was_looked_up_is_told_of() {
    let did = vec![
        person(116_456, 2, Deed::Create, 11_131_143_128_307_554_265),
        person(204_218, 2, Deed::Symlink, 18_385_911_477_955_586_167),
        person(214_349, 2, Deed::Symlink, 17_247_322_841_089_842_024),
        person(265_067, 2, Deed::Create, 17_911_376_168_307_114_980),
        (368_135, 1, Act::PowerCut(7, 13_451_135_400_106_435_050)),
        person(386_164, 3, Deed::Rename, 988_993_051_036_030_351),
        person(432_770, 1, Deed::Replace, 11_013_139_430_225_352_242),
        person(437_053, 1, Deed::Link, 3_706_152_102_822_645_086),
        person(437_364, 1, Deed::Rename, 1_598_797_271_605_490_885),
        person(440_228, 0, Deed::Rename, 7_984_792_243_246_985_456),
        person(456_467, 1, Deed::Chmod, 1_249_785_447_058_807_556),
        person(1_141_531, 1, Deed::Replace, 12_788_888_922_550_317_810),
    ];
    holds(41_628, 4, 30, did);
}

/// Seed 41743: others brought back and removed again what a full pull had taken away, of which memory knew nothing more.
#[test]
fn what_a_full_pull_took_from_memory_can_go_once_more() {
    let did = vec![
        person(25_447, 1, Deed::Create, 2_474_837_426_062_013_096),
        person(25_930, 1, Deed::SafeSave, 6_679_904_247_014_948_476),
        person(135_708, 0, Deed::Symlink, 7_011_004_253_924_264_884),
        person(153_359, 3, Deed::Symlink, 16_024_068_618_406_066_860),
        (185_328, 0, Act::BackUpServer),
        (529_430, 3, Act::Cut(true)),
        (768_169, 0, Act::PutServerBack(true)),
        person(952_176, 0, Deed::BackupSave, 5_946_667_606_629_885_877),
        person(1_191_199, 3, Deed::BackupSave, 8_757_727_466_490_062_507),
    ];
    holds(41_743, 5, 0, did);
}

/// Seed 300479: a backup was saved over one of others' and removed at once: it was removed as made of versions of the file
/// that it was a backup of, so it came back.
#[test]
fn a_backup_that_took_the_place_of_another_goes_as_it_was_seen() {
    let did = vec![
        person(7_567, 2, Deed::Create, 4_568_792_256_374_359_326),
        person(9_980, 0, Deed::Create, 14_432_594_531_792_840_286),
        person(158_659, 0, Deed::MakeDir, 4_335_380_486_619_404_768),
        person(158_786, 0, Deed::Rename, 16_436_390_526_131_762_067),
        person(164_043, 0, Deed::Unlink, 17_775_351_759_608_645_328),
        person(267_285, 1, Deed::Rename, 8_619_243_396_090_975_359),
        person(396_353, 0, Deed::MakeDir, 3_772_929_213_665_068_856),
        person(427_939, 1, Deed::Create, 15_067_009_845_514_101_073),
        person(428_140, 1, Deed::MakeDir, 12_063_219_261_286_120_561),
        person(428_632, 1, Deed::Rename, 16_557_436_710_980_982_350),
        person(481_168, 1, Deed::Exchange, 14_970_512_209_673_834_637),
        person(485_419, 1, Deed::Unlink, 14_811_782_146_702_398_126),
        person(510_068, 0, Deed::Link, 12_377_177_653_454_892_408),
        person(677_984, 0, Deed::MakeDir, 5_446_700_279_033_517_461),
        person(739_339, 2, Deed::BackupSave, 14_693_502_063_839_494_326),
        person(944_352, 0, Deed::Replace, 6_161_675_554_427_257_696),
        person(978_591, 1, Deed::Rename, 6_938_558_489_678_510_662),
        person(1_032_480, 2, Deed::Create, 12_054_374_116_250_179_833),
        person(1_032_774, 2, Deed::BackupSave, 903_851_296_332_259_979),
    ];
    script_holds(&Script { keeps_here: true, ..script(300_479, 3, 120, did) });
}

/// Seed 102364: a full pull took a large file away that memory had let go of, and others brought it back: the device could not
/// take that in, nor anything after it.
#[test]
fn what_a_full_pull_took_from_memory_can_come_back() {
    let did = vec![
        person(12_531, 1, Deed::Create, 8_104_621_688_548_698_962),
        person(15_330, 1, Deed::Create, 877_476_811_734_773_124),
        person(15_943, 2, Deed::Rename, 5_404_091_277_343_414_570),
        person(156_310, 1, Deed::MakeDir, 6_352_715_603_673_254_571),
        person(160_896, 1, Deed::Unlink, 16_754_257_687_555_359_345),
        person(161_076, 1, Deed::MakeDir, 9_461_279_969_539_748_127),
        person(218_935, 0, Deed::Create, 17_027_065_480_454_861_248),
        (227_391, 0, Act::BackUpServer),
        person(363_002, 0, Deed::Rename, 17_528_326_595_963_917_778),
        person(363_018, 0, Deed::RemoveTree, 12_495_913_367_595_394_785),
        person(385_201, 2, Deed::Create, 164_239_527_545_282_586),
        person(389_960, 2, Deed::MakeDir, 6_267_651_869_223_716_807),
        person(390_530, 2, Deed::Chmod, 8_622_303_027_824_976_046),
        person(390_926, 2, Deed::Symlink, 9_837_064_225_341_442_064),
        person(472_366, 1, Deed::MakeDir, 15_638_619_893_499_132_070),
        person(483_913, 1, Deed::Symlink, 8_650_096_507_892_814_642),
        person(564_062, 0, Deed::Rename, 13_761_951_791_790_411_319),
        person(631_917, 2, Deed::Symlink, 16_664_184_878_500_131_742),
        person(641_009, 2, Deed::Unlink, 9_492_830_211_239_415_653),
        (663_775, 2, Act::Cut(true)),
        person(736_936, 1, Deed::Exchange, 3_803_436_350_891_638_584),
        person(931_997, 0, Deed::Append, 4_448_703_484_360_595_157),
        (1_056_711, 0, Act::PutServerBack(true)),
        person(1_099_384, 1, Deed::Unlink, 2_307_392_590_474_368_495),
        person(1_165_705, 2, Deed::SafeSave, 3_099_597_604_280_853_663),
        (1_689_553, 2, Act::Heal),
    ];
    holds(102_364, 3, 0, did);
}

/// Seed 311164: a machine that had become its older copy removed a file by a name that it had given to another meanwhile.
#[test]
fn what_a_machine_did_before_it_became_its_copy_is_anothers_doing() {
    let did = vec![
        person(17_821, 0, Deed::Open, 8_677_163_091_711_034_738),
        person(17_939, 0, Deed::Create, 5_687_753_311_205_461_039),
        person(21_987, 0, Deed::Link, 16_892_127_631_361_074_331),
        person(391_509, 0, Deed::SafeSave, 13_380_500_663_357_956_578),
        person(584_361, 1, Deed::Fsync, 8_922_963_988_693_169_554),
        (584_524, 1, Act::Backup),
        person(584_525, 1, Deed::Exchange, 6_506_194_968_154_994_721),
        (590_341, 1, Act::RollBack),
        person(590_749, 1, Deed::Unlink, 5_756_982_587_485_683_730),
    ];
    script_holds(&Script { line_bytes: 34_998, ..script(311_164, 2, 0, did) });
}

/// Seed 311249: what one had removed and another had written to came back in a folder that stood beside its name, and was seen
/// there by all before that folder was given another name.
#[test]
fn what_came_back_in_a_folder_beside_its_name_may_be_moved_with_it() {
    let did = vec![
        person(10_343, 1, Deed::Create, 13_432_615_865_494_595_930),
        person(12_961, 2, Deed::MakeDir, 14_723_935_064_912_133_519),
        person(13_298, 2, Deed::Replace, 6_521_360_954_668_779_052),
        person(13_468, 2, Deed::SafeSave, 8_493_751_667_138_882_891),
        person(15_288, 1, Deed::MakeDir, 17_090_707_417_831_408_379),
        person(15_436, 1, Deed::Link, 12_594_983_471_694_305_914),
        person(63_206, 1, Deed::Rename, 8_852_534_500_036_955_915),
        person(88_713, 0, Deed::Overwrite, 11_816_457_976_924_793_255),
        person(89_239, 0, Deed::Append, 13_937_102_002_275_142_816),
        person(101_125, 1, Deed::Unlink, 14_306_899_932_601_997_589),
        person(416_518, 2, Deed::Rename, 959_802_228_785_204_017),
    ];
    holds(311_249, 3, 120, did);
}

/// Seed 510434: the file that a program had open was removed by one device and brought back by another, with which this
/// one's version was in conflict by then: where the file had been was known by the removal alone.
#[test]
fn what_is_written_to_an_open_file_that_was_removed_and_brought_back_in_a_conflict_is_kept() {
    let did = vec![
        person(4_793, 2, Deed::Create, 17_575_327_422_929_779_327),
        person(4_958, 2, Deed::MakeDir, 14_701_661_455_525_380_439),
        person(4_972, 2, Deed::Append, 17_122_626_823_054_671_769),
        person(5_070, 2, Deed::RemoveTree, 3_371_615_928_493_855_830),
        person(11_950, 3, Deed::Truncate, 15_135_377_924_421_366_253),
        person(12_299, 3, Deed::Open, 2_774_419_286_926_713_048),
        person(12_621, 3, Deed::Overwrite, 11_593_022_306_577_800_849),
        person(14_651, 1, Deed::Unlink, 11_758_970_986_231_278_070),
        person(14_923, 0, Deed::Create, 7_930_141_399_300_019_710),
        person(406_951, 3, Deed::Close, 9_720_813_355_501_725_273),
    ];
    script_holds(&Script { line_bytes: 145_832, refusals: 80, ..script(510_434, 5, 120, did) });
}

/// Seed 721283: a new machine that had listed one folder, and had not pulled everything yet, removed the one name that it knew of a
/// file with two.
#[test]
fn who_has_not_pulled_everything_removes_a_name_and_not_the_file() {
    let did = vec![
        person(162_334, 0, Deed::MakeDir, 17_276_438_567_254_879_120),
        person(162_799, 0, Deed::Create, 2_511_334_075_861_890_869),
        person(187_886, 0, Deed::Link, 1_787_221_737_511_659_423),
        person(520_475, 0, Deed::MakeDir, 5_629_099_133_871_410_356),
        (690_877, 1, Act::Join),
        person(690_878, 1, Deed::Open, 6_582_066_364_924_174_448),
        person(690_895, 1, Deed::Unlink, 15_718_857_797_315_624_320),
    ];
    script_holds(&Script { keeps_here: true, line_bytes: 95_277, ..script(721_283, 2, 0, did) });
}

/// Seed 740766: a file was made, moved, written to and removed without a network, in a folder that others had removed and made anew
/// meanwhile: it was there for a moment between two answers, and its last bytes were sent then.
#[test]
fn what_has_a_name_between_two_answers_is_not_sent_behind_its_removal() {
    let did = vec![
        person(211_741, 2, Deed::MakeDir, 9_547_566_791_915_707_033),
        (230_059, 0, Act::Cut(true)),
        person(269_980, 0, Deed::MakeDir, 14_396_457_211_126_420_815),
        person(276_933, 0, Deed::Create, 10_072_415_965_207_269_315),
        person(377_758, 0, Deed::Replace, 13_801_863_627_977_884_362),
        person(378_001, 0, Deed::MakeDir, 13_135_888_430_753_769_883),
        person(382_447, 0, Deed::Rename, 1_800_928_961_821_311_074),
        person(388_258, 0, Deed::Truncate, 7_525_236_110_191_004_442),
        person(430_244, 1, Deed::RemoveTree, 11_948_475_747_073_165_349),
        person(884_200, 1, Deed::MakeDir, 4_801_906_732_929_326_721),
        person(907_846, 0, Deed::Rename, 634_677_990_230_990_869),
        person(908_802, 0, Deed::Append, 402_581_776_777_890_944),
        person(917_392, 0, Deed::RemoveTree, 10_429_918_530_283_368_195),
    ];
    script_holds(&Script { line_bytes: 99_761, ..script(740_766, 4, 0, did) });
}
