//! Owns scripts that once failed, made short: files that stay on their machine, contents that the server refuses, files that a power cut took, disks that are full.

use super::named::{person, script, script_holds};
use super::script::{Act, Deed, Script};

/// Seed 100283: a new file that stayed here hid a folder that others had given its name, and a file in that one stayed here
/// as well. When others removed the folder, the queue could not be read any more.
#[test]
fn what_stays_here_in_a_folder_that_went_unseen_holds_up_nothing() {
    let did = vec![
        person(4_567, 3, Deed::MakeDir, 6_483_122_330_595_788_730),
        person(17_134, 2, Deed::MakeDir, 9_844_207_668_920_960_246),
        person(19_102, 0, Deed::Rename, 17_738_951_866_470_523_594),
        person(28_435, 2, Deed::Create, 2_794_617_401_435_151_147),
        person(28_706, 2, Deed::MakeDir, 17_459_551_449_640_324_998),
        person(34_673, 2, Deed::Create, 14_566_544_528_044_021_648),
        person(181_134, 3, Deed::Rename, 7_630_689_552_288_206_703),
        person(333_057, 2, Deed::Create, 5_386_196_814_347_694_155),
        person(463_813, 1, Deed::RemoveTree, 15_014_329_490_662_195_648),
        person(467_487, 1, Deed::SafeSave, 2_177_992_465_970_529_389),
    ];
    script_holds(&Script { keeps_here: true, ..script(100_283, 4, 0, did) });
}

/// Seed 101735: a folder that others had removed was kept here, renamed here, and so brought back: it kept the attributes that
/// it had had when it went.
#[test]
fn a_kept_folder_that_is_renamed_is_as_others_make_it() {
    let did = vec![
        person(7_412, 3, Deed::MakeDir, 7_902_589_889_981_745_251),
        person(145_619, 4, Deed::Create, 10_413_332_590_196_626_944),
        person(361_591, 2, Deed::RemoveTree, 13_615_119_370_557_612_706),
        person(545_686, 4, Deed::Rename, 10_984_714_345_129_737_626),
        person(940_026, 3, Deed::Xattr, 8_657_668_623_102_095_586),
        person(1_018_883, 0, Deed::Rename, 2_035_141_692_447_625_522),
    ];
    script_holds(&Script { keeps_here: true, ..script(101_735, 5, 0, did) });
}

/// Seed 312083: the same, and others had changed its attributes after something that was made in it had brought it back.
#[test]
fn a_kept_folder_that_is_back_is_as_others_make_it() {
    let did = vec![
        person(944, 1, Deed::MakeDir, 2_831_619_919_589_980_680),
        person(988, 1, Deed::MakeDir, 8_286_315_041_816_108_803),
        person(5_735, 3, Deed::MakeDir, 15_660_242_733_425_140_950),
        person(5_927, 3, Deed::Create, 6_384_470_442_315_549_296),
        person(10_644, 1, Deed::MakeDir, 7_045_837_974_775_043_143),
        person(10_831, 3, Deed::Rename, 16_411_616_359_344_155_995),
        person(242_062, 1, Deed::Create, 3_170_716_641_723_625_039),
        person(252_377, 1, Deed::Create, 10_082_070_896_482_945_078),
        person(350_036, 0, Deed::Truncate, 7_071_152_821_816_189_565),
        person(385_112, 2, Deed::Create, 2_228_958_690_514_014_856),
        person(391_475, 2, Deed::Replace, 12_512_392_268_951_408_008),
        person(398_077, 2, Deed::Create, 13_803_985_345_800_918_174),
        person(502_142, 2, Deed::Create, 2_980_642_082_050_407_350),
        person(502_778, 2, Deed::BackupSave, 11_643_293_499_794_399_545),
        person(502_819, 2, Deed::Create, 15_025_998_639_816_581_043),
        person(538_317, 3, Deed::Create, 16_971_442_914_582_909_310),
        person(538_322, 3, Deed::Rename, 209_896_913_939_747_461),
        person(745_276, 0, Deed::Rename, 5_215_884_914_359_108_073),
        person(752_866, 2, Deed::Rename, 10_570_440_809_023_975_946),
        person(753_454, 2, Deed::RemoveTree, 16_600_289_806_682_994_882),
        person(756_844, 4, Deed::Create, 15_110_967_752_063_719_622),
        person(758_985, 2, Deed::Rename, 12_800_868_960_122_534_184),
        person(763_762, 4, Deed::Create, 8_905_468_499_593_434_798),
        person(802_389, 1, Deed::MakeDir, 199_308_332_308_438_590),
        person(802_746, 1, Deed::Rename, 15_370_160_167_221_461_031),
        person(874_250, 0, Deed::MakeDir, 10_974_932_414_120_872_165),
        person(985_526, 4, Deed::Xattr, 8_614_755_970_219_702_764),
        person(986_152, 4, Deed::Unlink, 6_294_095_480_746_285_927),
        person(1_055_183, 1, Deed::Rename, 13_265_113_797_287_951_322),
    ];
    script_holds(&Script { keeps_here: true, line_bytes: 69_756, ..script(312_083, 5, 0, did) });
}

/// Seed 520762: the power went in the midst of a truncation, which the program was told had failed.
#[test]
fn what_the_power_cuts_through_may_have_happened() {
    let did = vec![
        person(27_854, 2, Deed::Create, 16_934_816_584_471_682_372),
        person(28_392, 2, Deed::Append, 4_039_372_644_059_943_139),
        (170_630, 1, Act::PowerCut(3, 9_096_217_804_554_687_626)),
        person(170_710, 1, Deed::Truncate, 8_786_667_994_189_704_589),
    ];
    script_holds(&script(520_762, 5, 0, did));
}

/// Seed 4: what a device wrote was refused, the file's old name showed the server's version again, and the kernel was not
/// told.
#[test]
fn the_kernel_hears_that_a_refused_content_went_elsewhere() {
    let saves = (1..9).map(|minute| person(minute * 60_000, 1, Deed::Append, 7_630_689_552_288_206_703 + minute));
    let did = std::iter::once(person(4_567, 1, Deed::Create, 6_483_122_330_595_788_730)).chain(saves);
    // Of what machine 1 sends, the sixth is refused.
    script_holds(&Script { refusals: 165, ..script(4, 2, 0, did.collect()) });
}

/// Seed 96: what had been fetched to a file of its own was about to be written over when the power went: the log said so, and
/// the file's name had never been synced. The device did not start any more.
#[test]
fn a_file_whose_name_a_power_cut_took_is_fetched_again() {
    let did = vec![
        person(5_970, 2, Deed::MakeDir, 16_141_961_250_788_585_652),
        person(8_002, 3, Deed::Create, 757_576_404_830_144_040),
        person(10_765, 1, Deed::Replace, 15_894_628_547_881_226_580),
        person(393_919, 0, Deed::Link, 10_079_262_892_054_510_647),
        person(410_130, 0, Deed::Read, 3_959_153_695_046_936_328),
        person(505_177, 0, Deed::Overwrite, 7_000_662_088_985_791_029),
        (505_259, 0, Act::PowerCut(0, 17_771_688_259_432_946_016)),
    ];
    script_holds(&script(96, 4, 0, did));
}

/// Seed 300562: the next version of a file was refused, and the one before had been put by under another name: it is there by
/// both, once as the file and once as the backup.
#[test]
fn what_was_put_by_for_a_version_that_is_refused_stays_in_both_places() {
    let did = vec![
        person(4_567, 1, Deed::Create, 6_483_122_330_595_788_730),
        person(60_000, 1, Deed::Append, 7_630_689_552_288_206_704),
        person(120_000, 1, Deed::BackupSave, 2),
        person(150_000, 0, Deed::Read, 1),
    ];
    script_holds(&Script { refusals: 650, ..script(4, 2, 0, did) });
}

/// Seed 300288: a content that was refused was rescued, and moved to another folder; then the machine became an older copy of
/// itself and sent it once more, and it was not refused.
#[test]
fn what_a_copied_machine_has_no_memory_of_rescuing_may_be_a_second_file() {
    let did = vec![
        person(1_084, 0, Deed::Unlink, 4_717_402_842_245_650_800),
        person(1_446, 0, Deed::MakeDir, 4_344_573_664_816_878_753),
        person(11_093, 3, Deed::Create, 13_293_122_160_163_282_522),
        person(345_879, 3, Deed::SafeSave, 17_278_204_913_488_226_283),
        person(430_776, 2, Deed::Rename, 17_107_182_590_267_360_808),
        (504_415, 3, Act::Cut(true)),
        person(504_416, 3, Deed::Link, 2_910_106_933_668_602_679),
        person(504_759, 3, Deed::Chmod, 15_361_223_371_166_666_043),
        person(504_872, 3, Deed::Rename, 9_190_530_880_752_906_206),
        person(504_999, 3, Deed::SyncedSave, 17_737_571_941_254_884_135),
        person(505_072, 3, Deed::SyncedSave, 12_969_967_626_774_662_517),
        person(505_138, 3, Deed::SyncedSave, 13_377_694_721_196_743_130),
        (516_062, 3, Act::Backup),
        (554_903, 3, Act::Heal),
        person(624_742, 3, Deed::Rename, 16_660_577_812_799_964_130),
        (644_425, 3, Act::RollBack),
    ];
    script_holds(&Script { line_bytes: 66_668, refusals: 79, ..script(300_288, 5, 0, did) });
}

/// Seed 310096: the next version of a file had been sent, and the backup of the one before had not, when the machine became an
/// older copy of itself: the backup went with the machine.
#[test]
fn what_was_put_by_on_a_machine_that_becomes_its_copy_may_be_in_the_history_alone() {
    let did = vec![
        person(4_567, 1, Deed::Create, 6_483_122_330_595_788_730),
        (60_000, 0, Act::Backup),
        person(60_100, 0, Deed::BackupSave, 0),
        (61_200, 0, Act::RollBack),
    ];
    script_holds(&script(310_096, 2, 0, did));
}

/// Seed 311282: the power went when a conflict's bytes had just been given to its sibling, and that was gone when the device
/// pulled everything anew: they stayed on the disk as if they were still the other file's.
#[test]
fn the_bytes_of_a_sibling_that_a_full_pull_takes_go_with_it() {
    let did = vec![
        person(8_067, 1, Deed::Create, 15_618_135_499_628_371_058),
        person(16_552, 1, Deed::Rename, 15_846_254_464_645_838_025),
        person(16_905, 1, Deed::MakeDir, 12_297_423_752_139_447_458),
        person(19_411, 0, Deed::Rename, 13_625_955_826_635_131_756),
        person(129_870, 0, Deed::MakeDir, 17_523_983_533_156_541_240),
        person(404_108, 0, Deed::MakeDir, 10_132_956_114_075_559_972),
        person(541_172, 1, Deed::MakeDir, 4_637_628_990_935_833_154),
        person(680_300, 0, Deed::Create, 8_677_373_953_877_146_064),
        person(685_734, 0, Deed::MakeDir, 13_326_417_349_289_373_614),
        (1_088_711, 1, Act::PowerCut(2, 10_131_161_804_164_033_202)),
        person(1_122_555, 1, Deed::Create, 1_427_989_706_552_118_000),
        person(1_122_730, 1, Deed::Xattr, 16_555_915_153_456_522_454),
        person(1_122_760, 1, Deed::SafeSave, 6_492_905_885_969_143_367),
        person(1_122_865, 1, Deed::Rename, 11_308_654_336_812_386_753),
        (1_133_937, 2, Act::Join),
        person(1_133_938, 2, Deed::MakeDir, 16_050_270_882_543_499_538),
        person(1_134_093, 2, Deed::Create, 18_044_454_757_026_647_245),
        person(1_134_094, 2, Deed::SafeSave, 8_302_096_468_511_450_480),
        person(1_134_179, 2, Deed::Open, 5_386_253_521_468_619_709),
        person(1_134_322, 2, Deed::Overwrite, 8_083_967_634_657_554_339),
        person(1_134_389, 2, Deed::Create, 1_753_147_326_832_232_762),
        person(1_134_507, 2, Deed::Link, 6_644_043_418_795_627_821),
        person(1_134_669, 2, Deed::Overwrite, 15_870_466_095_256_834_638),
        person(1_134_757, 2, Deed::Unlink, 2_667_894_974_626_753_384),
        person(1_134_827, 2, Deed::MakeDir, 2_040_644_171_364_787_222),
        person(1_135_140, 2, Deed::MakeDir, 753_979_460_230_315_317),
        person(1_135_500, 2, Deed::Append, 923_187_803_511_953_119),
        person(1_135_633, 2, Deed::Replace, 13_295_539_066_444_774_995),
        (1_162_387, 2, Act::PowerCut(2, 3_486_668_115_354_490_019)),
        (1_191_578, 0, Act::Resolve(11_149_963_642_203_817_865)),
    ];
    script_holds(&Script { line_bytes: 109_788, ..script(311_282, 3, 120, did) });
}

/// Seed 503130: a daemon was ended while it made a file's backing file; the next one took its name for synced, and the power
/// went. The row in the database was believed, file or no file, and the device said nothing any more.
#[test]
fn the_next_daemon_syncs_the_name_of_a_backing_file_that_was_just_made() {
    let did = vec![
        (570_331, 2, Act::Cut(true)),
        person(670_449, 2, Deed::Create, 2_101_908_294_592_778_789),
        person(906_909, 2, Deed::Replace, 10_922_205_235_031_360_115),
        (907_156, 2, Act::Backup),
        (915_709, 2, Act::RollBack),
        (1_059_592, 2, Act::PowerCut(1, 9_596_569_491_134_018_000)),
    ];
    script_holds(&script(503_130, 3, 0, did));
}

/// Seed 816287: the local disk was full when a full pull was to end, and the database took what that brought when nobody waited for
/// it any more.
#[test]
fn what_a_full_pull_brings_is_told_to_the_kernel_though_the_disk_was_full() {
    let did = vec![
        person(4_576, 1, Deed::Create, 11_769_552_230_347_093_711),
        person(6_804, 0, Deed::Link, 4_778_438_891_886_874_223),
        person(9_812, 0, Deed::Unlink, 5_626_423_111_604_598_608),
        person(9_929, 0, Deed::Unlink, 16_086_262_290_525_395_380),
        person(10_738, 0, Deed::Create, 7_551_448_936_614_489_355),
        person(11_048, 0, Deed::SafeSave, 6_510_074_469_258_085_381),
        person(15_812, 2, Deed::Create, 304_555_793_691_977_471),
        person(15_919, 2, Deed::Create, 12_497_813_991_163_333_860),
        person(15_949, 1, Deed::Symlink, 3_986_727_579_195_527_514),
        person(16_584, 1, Deed::Rename, 16_724_357_248_967_224_960),
        person(18_954, 3, Deed::Replace, 2_562_616_129_473_699_355),
        person(23_881, 3, Deed::MakeDir, 17_326_313_762_398_870_205),
        (74_206, 0, Act::BackUpServer),
        person(265_832, 1, Deed::Append, 7_057_378_406_371_867_550),
        (322_352, 1, Act::Fill(Some(0))),
        person(322_564, 1, Deed::Unlink, 3_050_503_133_582_943_507),
        person(322_795, 1, Deed::Create, 17_597_363_132_664_032_152),
        person(322_919, 1, Deed::MakeDir, 7_845_737_435_793_345_120),
        person(323_769, 1, Deed::Rename, 11_104_026_353_216_112_875),
        person(349_137, 3, Deed::Create, 822_180_598_929_794_844),
        person(349_138, 3, Deed::Replace, 3_936_646_371_863_641_541),
        person(362_777, 2, Deed::Unlink, 2_993_447_924_556_511_132),
        person(363_246, 2, Deed::Rename, 5_766_161_104_827_383_505),
        (374_163, 0, Act::PutServerBack(true)),
        person(410_502, 0, Deed::SafeSave, 9_473_263_927_404_323_293),
        person(410_594, 0, Deed::Rename, 7_168_466_769_508_832_870),
        person(499_561, 3, Deed::Overwrite, 4_157_666_605_837_922_066),
        (601_742, 1, Act::Fill(None)),
        person(1_193_554, 1, Deed::Append, 17_974_451_142_892_568_364),
    ];
    script_holds(&Script { keeps_here: true, refusals: 160, ..script(816_287, 4, 30, did) });
}

/// Seed 823987: a folder was kept for a removal in it, was gone, and came back with a full pull after the server was put back: it
/// showed the attributes that it had when it was kept.
#[test]
fn a_folder_that_was_kept_and_is_back_with_a_full_pull_is_as_others_made_it() {
    let did = vec![
        person(17_859, 2, Deed::MakeDir, 5_305_931_112_321_264_893),
        person(31_224, 2, Deed::MakeDir, 12_477_745_288_369_506_038),
        person(386_123, 0, Deed::RemoveTree, 16_945_745_747_454_481_875),
        person(505_169, 0, Deed::Create, 4_716_542_396_341_924_630),
        (585_572, 1, Act::Cut(true)),
        person(605_931, 1, Deed::Chmod, 11_061_982_421_677_428_915),
        (1_008_306, 0, Act::BackUpServer),
        person(1_034_524, 0, Deed::RemoveTree, 2_196_696_141_588_862_549),
        person(1_035_267, 3, Deed::Unlink, 14_875_231_143_878_499_992),
        (1_105_211, 0, Act::PutServerBack(true)),
    ];
    script_holds(&Script { keeps_here: true, line_bytes: 23_885, ..script(823_987, 4, 0, did) });
}

/// Seed 935219: a file that stays here hid another name of a file that was saved and then replaced here: who did so had not removed
/// that name.
#[test]
fn what_is_replaced_here_is_not_removed_under_a_name_that_something_here_hides() {
    let did = vec![
        person(24_411, 1, Deed::Create, 16_817_981_891_201_101_052),
        person(88_767, 0, Deed::Create, 17_230_625_007_244_507_613),
        person(96_455, 0, Deed::Create, 9_496_837_820_516_895_823),
        person(198_247, 0, Deed::Create, 10_110_853_369_629_486_113),
        person(214_325, 0, Deed::Create, 1_247_775_456_048_411_389),
        person(220_032, 0, Deed::Link, 7_980_547_038_110_150_275),
        person(287_061, 1, Deed::SafeSave, 10_919_994_565_887_758_113),
        person(287_243, 1, Deed::Rename, 9_452_132_991_846_661_769),
    ];
    script_holds(&Script { keeps_here: true, line_bytes: 20_116, ..script(935_219, 2, 0, did) });
}
