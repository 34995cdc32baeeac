//! Owns scripts that once failed, made short: what the server refuses, what it has already, and what it forgot.

use super::named::{holds, person, script, script_holds};
use super::script::{Act, Deed, Script};

/// Seed 502570: what was refused was rescued, and somebody cut the rescued file short, to what the first one is.
#[test]
fn who_cuts_a_rescued_file_short_may_make_the_first_one_of_it() {
    let did = vec![
        person(7_088, 1, Deed::MakeDir, 7_698_039_399_547_096_870),
        person(9_402, 2, Deed::Create, 13_467_356_090_292_092_695),
        person(18_060, 0, Deed::MakeDir, 3_361_811_641_250_943_379),
        person(25_830, 0, Deed::Create, 8_819_191_710_939_114_827),
        person(73_498, 0, Deed::Create, 4_901_114_949_768_889_068),
        person(73_760, 0, Deed::Create, 14_863_030_603_240_504_728),
        person(126_448, 0, Deed::Create, 11_436_149_264_760_174_285),
        person(296_365, 0, Deed::Append, 4_007_904_844_091_550_841),
        person(405_179, 3, Deed::Append, 12_127_457_469_736_847_227),
        person(405_643, 3, Deed::Append, 1_255_281_463_436_937_516),
        person(405_793, 3, Deed::Create, 8_430_620_314_179_770_884),
        person(405_876, 3, Deed::MakeDir, 1_045_817_566_315_424_831),
        person(407_082, 3, Deed::Append, 9_176_390_636_952_898_572),
        person(425_124, 3, Deed::MakeDir, 2_093_419_488_978_507_906),
        person(1_071_733, 1, Deed::Truncate, 6_820_555_714_028_345_395),
    ];
    script_holds(&Script { refusals: 133, ..script(502_570, 4, 0, did) });
}

/// Seed 551374: a file had a second name in a folder that others removed, and whose name they gave to a file; then a person took
/// its first one away. The second one was refused, twice, and the file was gone.
#[test]
fn a_file_does_not_go_with_a_name_that_is_refused() {
    let did = vec![
        (83_534, 0, Act::Quota(Some(0))),
        person(83_963, 0, Deed::Create, 15_645_048_950_306_916_981),
        person(84_266, 0, Deed::MakeDir, 3_738_009_685_645_686_986),
        person(84_869, 0, Deed::Link, 10_746_626_576_716_161_384),
        person(84_951, 0, Deed::Create, 9_971_322_386_071_321_523),
        person(291_859, 0, Deed::Create, 7_616_324_211_452_099_069),
        person(502_049, 0, Deed::Rename, 187_616_788_066_796_015),
        person(507_169, 0, Deed::BackupSave, 14_383_998_214_465_719_982),
        person(546_197, 0, Deed::Create, 16_843_636_767_764_527_539),
        person(663_883, 1, Deed::RemoveTree, 9_533_873_238_990_504_037),
        person(664_715, 1, Deed::Create, 6_582_672_413_118_687_091),
        person(737_190, 0, Deed::Rename, 17_992_670_106_290_191_592),
        person(737_718, 0, Deed::Replace, 15_826_508_474_355_501_654),
        person(815_056, 1, Deed::MakeDir, 1_730_501_043_328_910_934),
    ];
    script_holds(&script(551_374, 2, 0, did));
}

/// Seed 550607: the server was put back while a new machine did its first things, before it had pulled everything.
#[test]
fn what_a_new_machine_did_before_the_server_was_put_back_is_brought_back() {
    let did = vec![
        person(222_680, 0, Deed::Create, 16_086_020_255_594_056_062),
        person(222_855, 0, Deed::SafeSave, 18_303_845_575_623_575_843),
        person(223_026, 0, Deed::Create, 8_607_911_962_221_710_974),
        person(223_296, 0, Deed::Overwrite, 117_029_314_376_357_739),
        person(223_448, 0, Deed::Create, 1_264_716_845_530_889_434),
        person(390_530, 0, Deed::Link, 4_321_822_112_897_330_134),
        person(390_653, 0, Deed::Replace, 8_192_669_742_255_253_513),
        person(403_864, 0, Deed::Append, 1_670_277_532_509_818_415),
        person(406_087, 0, Deed::Create, 12_839_704_920_924_519_807),
        person(412_966, 0, Deed::Xattr, 8_704_141_794_028_633_177),
        person(414_296, 0, Deed::MakeDir, 8_333_784_756_780_678_236),
        person(775_699, 0, Deed::Exchange, 12_307_021_582_746_267_756),
        person(775_701, 0, Deed::Replace, 10_338_578_460_036_688_018),
        person(794_773, 0, Deed::BackupSave, 11_761_159_550_117_061_029),
        (887_936, 0, Act::BackUpServer),
        person(935_657, 0, Deed::Append, 2_257_822_108_746_886_512),
        person(935_796, 0, Deed::RemoveTree, 14_138_781_967_726_114_355),
        (966_026, 1, Act::Join),
        person(966_027, 1, Deed::Create, 801_198_914_861_229_960),
        person(966_196, 1, Deed::Rename, 4_927_382_344_240_352_756),
        person(966_232, 1, Deed::Symlink, 8_810_204_209_880_830_910),
        person(966_599, 1, Deed::Replace, 13_299_853_118_335_999_066),
        person(966_636, 1, Deed::Append, 10_156_285_379_167_188_667),
        person(966_912, 1, Deed::Rename, 13_604_747_908_938_333_699),
        person(967_640, 1, Deed::Unlink, 12_990_349_201_374_437_486),
        person(967_745, 1, Deed::Chmod, 13_085_921_579_654_230_021),
        person(967_912, 1, Deed::Create, 6_866_049_734_720_176_972),
        (968_995, 0, Act::PutServerBack(true)),
    ];
    script_holds(&Script { keeps_here: true, ..script(550_607, 2, 120, did) });
}

/// Seed 521116: a conflict was resolved in favour of a machine whose next save was on its way. It had seen the bytes, and not
/// that they had been chosen.
#[test]
fn what_was_chosen_has_not_been_seen_though_its_bytes_were() {
    let did = vec![
        person(1_613, 2, Deed::MakeDir, 8_301_812_970_866_561_586),
        person(9_285, 0, Deed::Create, 4_271_144_126_651_637_265),
        person(11_330, 1, Deed::Create, 4_900_839_529_858_645_145),
        person(12_600, 0, Deed::Symlink, 17_997_352_017_523_021_435),
        person(234_574, 2, Deed::MakeDir, 2_347_917_195_994_499_864),
        person(283_830, 0, Deed::RemoveTree, 15_326_568_745_679_479_941),
        person(411_460, 0, Deed::Create, 9_454_780_434_325_434_728),
        (637_060, 0, Act::Cut(true)),
        person(641_215, 1, Deed::MakeDir, 13_997_195_851_989_786_157),
        person(646_170, 1, Deed::Overwrite, 5_746_417_019_769_359_013),
        (901_260, 0, Act::PowerCut(8, 12_710_433_481_541_436_957)),
        person(901_277, 1, Deed::Rename, 16_911_109_374_904_626_583),
        person(1_006_400, 0, Deed::Autosave, 475_418_673_626_145_707),
        person(1_009_518, 1, Deed::Unlink, 3_493_216_004_020_439_736),
        (1_025_430, 0, Act::Heal),
        person(1_029_515, 0, Deed::Autosave, 1_407_133_062_891_806_544),
        (1_029_515, 1, Act::Resolve(14_924_411_793_707_667_880)),
    ];
    script_holds(&Script { line_bytes: 24_142, ..script(521_116, 3, 120, did) });
}

/// Seed 520656: a machine that became its older copy brought what it had brought before, as another device. Who had seen the first
/// one's version saved upon it.
#[test]
fn what_two_devices_brought_has_not_been_seen_by_who_knows_of_one() {
    let did = vec![
        person(2_261, 3, Deed::Create, 1_479_005_669_632_804_132),
        person(16_111, 1, Deed::Link, 4_952_960_407_286_239_734),
        person(16_352, 1, Deed::Create, 17_454_727_252_598_253_818),
        person(16_598, 1, Deed::MakeDir, 13_523_704_075_631_256_908),
        person(16_846, 1, Deed::SafeSave, 11_731_921_946_436_192_189),
        person(24_257, 0, Deed::Link, 3_900_167_537_448_867_520),
        person(25_550, 0, Deed::Append, 13_314_884_972_056_019_786),
        person(129_382, 2, Deed::MakeDir, 86_859_494_469_496_604),
        person(141_106, 2, Deed::Unlink, 13_724_348_977_783_544_840),
        person(149_470, 2, Deed::Create, 4_643_147_704_312_770_870),
        person(192_001, 0, Deed::Rename, 5_179_362_060_131_617_434),
        (255_383, 3, Act::Cut(true)),
        person(284_881, 3, Deed::Replace, 14_278_627_788_656_258_680),
        person(443_887, 1, Deed::Unlink, 5_558_110_178_731_511_251),
        (512_754, 3, Act::Backup),
        person(534_332, 0, Deed::SyncedSave, 6_386_827_697_634_824_634),
        person(552_320, 3, Deed::Create, 14_171_055_855_024_953_267),
        person(553_078, 1, Deed::Rename, 908_498_571_754_577_946),
        (590_416, 3, Act::Heal),
        person(722_537, 0, Deed::Create, 15_230_939_558_670_605_587),
        person(781_639, 4, Deed::MakeDir, 6_517_997_227_787_490_210),
        person(781_800, 4, Deed::Rename, 1_289_058_760_189_669_290),
        (946_335, 1, Act::Cut(true)),
        (992_828, 3, Act::RollBack),
        person(1_027_283, 1, Deed::SafeSave, 14_625_921_206_986_435_579),
    ];
    script_holds(&script(520_656, 5, 120, did));
}

/// Seed 500329: a file was renamed and another made under its name, which was refused: the old one is there by both names.
#[test]
fn what_was_renamed_for_a_file_that_is_refused_stays_in_both_places() {
    let saves = (1..5).map(|minute| person(minute * 60_000, 1, Deed::Append, 7_630_689_552_288_206_702 + minute));
    let did = std::iter::once(person(4_567, 1, Deed::Create, 6_483_122_330_595_788_730)).chain(saves);
    let renamed = person(400_000, 1, Deed::Rename, 1);
    let made = person(400_100, 1, Deed::Create, 6_483_122_330_595_788_730);
    let did = did.chain([renamed, made, person(420_000, 0, Deed::Read, 1)]);
    // Of what machine 1 sends, the sixth is refused.
    script_holds(&Script { refusals: 165, ..script(4, 2, 0, did.collect()) });
}

/// Seed 560470: a server that was put back knew nothing of a resolution, and somebody wanted both files once more.
#[test]
fn who_wants_both_files_twice_gets_two() {
    let did = vec![
        person(148_136, 1, Deed::Create, 9_156_295_249_881_523_486),
        person(473_185, 1, Deed::Autosave, 438_703_416_068_102_420),
        person(473_186, 0, Deed::Autosave, 16_699_267_139_279_810_839),
        person(551_171, 0, Deed::Unlink, 13_764_427_587_049_733_090),
        (562_572, 0, Act::BackUpServer),
        (605_508, 0, Act::Resolve(10_794_936_149_488_214_708)),
        (705_848, 0, Act::PutServerBack(true)),
        (1_112_258, 1, Act::Resolve(17_154_707_068_450_433_596)),
    ];
    script_holds(&Script { line_bytes: 118_214, ..script(560_470, 2, 0, did) });
}

/// Seed 561098: an exchange was refused, because one of the two folders would have come to stand in itself. What was saved over the other
/// one, where a person saw it then, does not replace it where it still is.
#[test]
fn what_was_not_exchanged_is_not_replaced_where_it_was_to_be() {
    let did = vec![
        (113_334, 0, Act::Fill(Some(0))),
        person(113_335, 0, Deed::Create, 16_479_623_430_715_286_038),
        person(137_765, 1, Deed::Rename, 929_798_281_719_894_986),
        person(137_924, 1, Deed::SyncedSave, 8_548_884_585_349_400_723),
        (192_171, 0, Act::Fill(None)),
        (274_078, 0, Act::Quota(Some(0))),
        person(274_079, 0, Deed::MakeDir, 11_105_956_560_894_281_390),
        person(274_148, 0, Deed::Create, 2_076_590_062_190_186_509),
        person(307_130, 2, Deed::Unlink, 4_649_847_281_410_310_415),
        person(307_276, 2, Deed::Create, 13_279_742_090_718_368_131),
        person(307_412, 2, Deed::MakeDir, 5_392_460_279_087_754_643),
        person(307_820, 2, Deed::Unlink, 1_679_080_997_186_504_038),
        person(307_918, 2, Deed::MakeDir, 7_352_884_282_091_551_907),
        person(307_989, 2, Deed::Link, 4_670_552_695_940_081_023),
        person(308_346, 2, Deed::Rename, 15_856_359_315_791_971_431),
        person(380_082, 0, Deed::Create, 5_507_481_192_414_013_842),
        person(396_543, 2, Deed::MakeDir, 8_461_011_390_005_301_059),
        person(571_053, 0, Deed::Exchange, 5_664_944_669_852_620_166),
        person(767_760, 0, Deed::SafeSave, 9_691_463_788_101_617_482),
    ];
    script_holds(&script(561_098, 3, 0, did));
}

/// Seed 561624: a machine saved again while its first save was in a sibling, and took its place there; then the sibling was removed, and the
/// conflict resolved.
#[test]
fn what_a_sibling_held_before_is_in_its_history_alone() {
    let did = vec![
        person(13_480, 1, Deed::MakeDir, 61_401_361_062_748_682),
        person(19_785, 0, Deed::Create, 11_834_312_018_045_725_837),
        person(20_630, 0, Deed::Create, 14_217_655_849_638_465_038),
        person(216_876, 1, Deed::Append, 12_281_070_119_244_807_532),
        person(217_519, 1, Deed::Rename, 7_392_772_383_048_045_718),
        person(217_638, 1, Deed::Overwrite, 14_494_376_126_654_545_463),
        person(217_797, 1, Deed::Symlink, 702_300_368_890_048_193),
        person(219_598, 2, Deed::Replace, 10_834_991_342_603_051_109),
        person(219_817, 2, Deed::SafeSave, 8_138_890_572_526_518_254),
        person(219_934, 2, Deed::Append, 2_648_325_954_486_288_053),
        person(220_644, 2, Deed::Append, 7_651_628_066_221_539_274),
        person(220_902, 2, Deed::Create, 15_683_844_331_211_477_621),
        person(222_317, 1, Deed::Rename, 3_624_197_336_329_760_925),
        person(253_509, 2, Deed::Unlink, 5_809_366_442_798_954_468),
        person(262_754, 0, Deed::Replace, 16_623_630_951_697_806_945),
        person(263_050, 0, Deed::Rename, 10_311_866_964_157_857_705),
        person(301_426, 0, Deed::MakeDir, 42_218_645_884_011_174),
        person(459_069, 1, Deed::MakeDir, 11_205_686_937_134_864_255),
        person(466_085, 1, Deed::Read, 6_274_167_768_838_689_683),
        person(466_348, 1, Deed::Replace, 1_921_450_914_458_131_744),
        person(473_170, 0, Deed::Rename, 14_142_720_264_887_908_513),
        person(495_160, 0, Deed::Xattr, 5_448_287_100_982_477_970),
        person(495_798, 0, Deed::Append, 5_351_732_882_784_269_150),
        person(496_023, 0, Deed::SafeSave, 14_219_953_289_252_974_027),
        person(500_673, 0, Deed::SafeSave, 16_352_051_978_878_664_798),
        person(513_934, 0, Deed::Truncate, 11_590_190_531_921_503_939),
        person(528_030, 2, Deed::MakeDir, 17_030_069_886_026_187_866),
        person(528_267, 2, Deed::Link, 7_513_252_415_844_286_237),
        person(535_418, 2, Deed::Truncate, 13_257_298_744_502_106_216),
        person(535_644, 2, Deed::MakeDir, 9_588_738_442_950_249_103),
        person(535_990, 2, Deed::Rename, 1_866_862_129_868_833_748),
        (538_273, 0, Act::Resolve(8_262_261_710_734_297_110)),
        (569_864, 2, Act::Cut(true)),
        (616_086, 2, Act::Heal),
        (688_778, 1, Act::Cut(true)),
        (715_939, 1, Act::Heal),
        person(723_386, 2, Deed::Autosave, 3_157_217_287_331_653_044),
        person(739_627, 1, Deed::Autosave, 7_452_882_079_776_951_687),
        person(739_847, 1, Deed::Autosave, 12_416_489_513_556_374_891),
        person(740_390, 1, Deed::Autosave, 5_607_728_576_333_820_281),
        person(741_343, 1, Deed::Autosave, 16_535_025_270_526_220_223),
        person(742_334, 2, Deed::Autosave, 17_026_312_667_225_710_043),
        person(744_376, 1, Deed::Autosave, 10_856_592_421_503_912_693),
        person(744_753, 2, Deed::Autosave, 12_082_808_892_543_843_264),
        person(745_448, 1, Deed::Autosave, 5_868_156_087_918_140_495),
        person(745_574, 2, Deed::Autosave, 8_308_856_693_722_851_239),
        person(745_617, 2, Deed::Autosave, 5_775_273_530_706_589_168),
        person(749_152, 1, Deed::Autosave, 13_180_311_684_707_676_192),
        (749_152, 1, Act::Resolve(6_751_979_861_539_960_079)),
        person(826_734, 1, Deed::Unlink, 7_449_987_999_270_748_160),
        person(886_268, 0, Deed::Rename, 6_150_967_209_103_384_068),
        person(886_451, 0, Deed::Unlink, 17_963_026_656_906_107_292),
    ];
    script_holds(&script(561_624, 4, 30, did));
}

/// Seed 564648: a disk was full, so a file was made and nothing written to it, and then another one in its place.
#[test]
fn who_has_seen_one_empty_file_has_not_seen_another() {
    let did = vec![
        (99_000, 0, Act::Fill(Some(0))),
        (158_524, 0, Act::Quota(Some(0))),
        person(158_545, 0, Deed::Create, 6_094_206_543_659_442_891),
        person(203_351, 2, Deed::Overwrite, 6_791_628_630_617_588_283),
        person(409_080, 0, Deed::BackupSave, 370_577_049_536_956_883),
    ];
    script_holds(&Script { refusals: 166, ..script(564_648, 3, 0, did) });
}

/// Seed 570216: a machine was copied before it sent a file, and became the copy afterwards. There the file was removed unsent.
#[test]
fn what_a_past_self_sent_is_anothers_doing() {
    let did = vec![
        person(14_279, 0, Deed::Create, 15_027_802_876_626_199_157),
        (86_855, 0, Act::PowerCut(1, 106_979_343_453_828_073)),
        (87_599, 0, Act::Cut(true)),
        person(241_007, 0, Deed::Link, 16_605_399_718_826_895_585),
        person(685_485, 0, Deed::Append, 7_183_967_274_136_164_787),
        person(694_734, 1, Deed::MakeDir, 11_723_892_557_550_492_640),
        (838_850, 0, Act::Heal),
        person(868_786, 0, Deed::Create, 9_848_313_749_720_569_091),
        person(895_919, 0, Deed::Autosave, 9_418_509_823_197_858_607),
        person(1_010_387, 0, Deed::Chmod, 12_814_689_188_765_076_468),
        person(1_010_453, 0, Deed::BackupSave, 6_482_658_888_746_726_902),
        (1_010_510, 0, Act::Backup),
        (1_020_813, 0, Act::RollBack),
        person(1_021_146, 0, Deed::RemoveTree, 3_790_843_066_972_278_951),
    ];
    script_holds(&script(570_216, 2, 120, did));
}

/// Seed 582873: two people saved one file, and each kept a backup of what it had been.
#[test]
fn two_people_have_a_backup_each() {
    let did = vec![
        person(305_926, 2, Deed::MakeDir, 13_193_074_912_490_983_367),
        person(372_726, 1, Deed::Create, 12_439_710_567_359_284_484),
        (981_259, 1, Act::Cut(false)),
        person(993_671, 0, Deed::BackupSave, 11_024_231_527_700_226_617),
        person(1_095_988, 1, Deed::BackupSave, 4_334_640_338_234_823_106),
        person(1_096_926, 1, Deed::Rename, 15_950_710_588_775_465_770),
    ];
    script_holds(&Script { line_bytes: 55_466, ..script(582_873, 3, 0, did) });
}

/// Seed 582614: there was no room for a write, as a program was told, and then the power went: the log had it.
#[test]
fn what_there_was_no_room_for_may_have_happened() {
    let did = vec![
        person(10_696, 0, Deed::Create, 3_387_390_977_343_338_300),
        person(17_336, 2, Deed::Create, 9_973_221_314_820_856_514),
        person(48_884, 0, Deed::Create, 4_610_956_941_866_225_733),
        (186_069, 0, Act::Fill(Some(6_582))),
        person(691_011, 0, Deed::Overwrite, 16_107_291_418_813_451_289),
        (691_404, 0, Act::PowerCut(1, 5_876_748_403_048_996_015)),
    ];
    script_holds(&Script { line_bytes: 83_537, refusals: 74, ..script(582_614, 5, 0, did) });
}

/// Seed 821657: a file was renamed over one whose last bytes lost a conflict after that, and somebody opened what stayed before the
/// rename was sent: it passed for one who had seen that.
#[test]
fn what_stayed_and_was_opened_is_not_displaced_by_a_rename_from_before() {
    let did = vec![
        person(32_482, 0, Deed::Create, 16_022_761_456_197_938_179),
        person(114_655, 1, Deed::Unlink, 1_024_285_995_282_316_516),
        person(146_972, 1, Deed::Create, 11_418_646_255_639_579_580),
        person(153_656, 1, Deed::Overwrite, 11_027_099_561_836_445_347),
        person(154_044, 1, Deed::Link, 2_054_837_301_502_763_996),
        person(154_467, 1, Deed::SafeSave, 2_164_087_078_900_934_482),
        person(161_201, 1, Deed::SafeSave, 15_077_495_749_816_962_841),
        person(206_552, 0, Deed::Rename, 16_723_304_998_684_015_677),
        person(206_591, 0, Deed::Truncate, 6_298_684_828_589_161_926),
        person(206_832, 0, Deed::SafeSave, 8_000_968_475_184_386_427),
        person(207_063, 0, Deed::Create, 11_653_505_470_221_136_960),
        person(207_075, 0, Deed::BackupSave, 10_153_602_645_583_999_970),
        person(208_230, 0, Deed::SafeSave, 7_457_493_202_954_213_022),
        person(208_739, 0, Deed::Append, 15_395_745_032_201_579_739),
        person(212_299, 0, Deed::Replace, 6_428_522_591_647_173_589),
        (449_236, 0, Act::Cut(false)),
        person(449_237, 0, Deed::Autosave, 12_682_060_921_046_531_975),
        person(449_238, 1, Deed::Autosave, 11_780_594_193_699_248_756),
        (468_599, 0, Act::Heal),
        person(469_832, 0, Deed::Rename, 12_077_607_537_751_020_409),
        (471_903, 0, Act::Resolve(11_608_817_037_557_101_505)),
    ];
    holds(821_657, 2, 30, did);
}

/// Seed 740593: a new machine listed a folder, and the server was put back before it had asked for anything else: what it had
/// been told of the lost history looked newer to it than all that the server said since.
#[test]
fn what_a_new_machine_listed_before_the_server_was_put_back_is_not_taken_for_news() {
    let did = vec![
        person(1_564, 0, Deed::Create, 7_747_083_997_425_797_716),
        person(12_586, 2, Deed::Create, 10_723_398_161_735_656_209),
        person(19_642, 2, Deed::Create, 16_555_954_122_674_795_032),
        person(19_745, 2, Deed::Create, 752_986_995_461_976_812),
        person(35_064, 2, Deed::Rename, 14_559_272_297_639_609_592),
        (835_957, 0, Act::BackUpServer),
        person(927_759, 0, Deed::Autosave, 18_354_429_035_659_476_281),
        person(1_009_738, 0, Deed::Symlink, 6_748_592_749_137_644_211),
        person(1_017_321, 0, Deed::Rename, 5_182_304_709_073_336_903),
        (1_166_328, 3, Act::Join),
        person(1_166_345, 3, Deed::Rename, 1_722_336_199_435_594_741),
        (1_166_397, 0, Act::PutServerBack(true)),
        person(1_168_772, 3, Deed::Rename, 16_424_036_801_665_460_759),
        person(1_169_010, 3, Deed::MakeDir, 6_841_160_074_658_994_917),
    ];
    script_holds(&Script { line_bytes: 114_601, ..script(740_593, 4, 120, did) });
}

/// Seed 936681: a machine was answered a rename before it had heard of the last write to the file, and then the server was put
/// back: its older bytes took the place of what the backup had.
#[test]
fn a_name_that_was_answered_does_not_bring_back_the_bytes_from_before() {
    let did = vec![
        person(7_453, 3, Deed::Create, 11_939_895_601_057_966_622),
        person(7_789, 1, Deed::Create, 9_224_514_123_055_468_733),
        person(8_252, 3, Deed::MakeDir, 18_302_383_442_929_420_492),
        person(16_947, 2, Deed::Append, 18_367_427_125_291_344_619),
        person(29_900, 2, Deed::Rename, 441_687_727_613_374_316),
        person(30_323, 2, Deed::Create, 17_072_166_090_490_841_973),
        person(33_266, 2, Deed::BackupSave, 7_002_992_592_157_604_759),
        person(95_297, 0, Deed::Read, 3_512_217_272_258_440_389),
        person(95_588, 0, Deed::Overwrite, 8_235_431_436_826_190_948),
        (275_007, 0, Act::Cut(true)),
        person(275_296, 0, Deed::Read, 14_817_178_629_932_892_125),
        person(275_416, 0, Deed::Create, 6_214_533_065_752_682_966),
        person(405_778, 2, Deed::Replace, 9_188_990_850_315_998_031),
        person(758_146, 0, Deed::Rename, 10_319_222_596_527_178_093),
        (964_599, 0, Act::BackUpServer),
        (1_099_990, 0, Act::Heal),
        (1_100_549, 0, Act::PutServerBack(true)),
    ];
    script_holds(&Script { line_bytes: 122_025, ..script(936_681, 4, 30, did) });
}
