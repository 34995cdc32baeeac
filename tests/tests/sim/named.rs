//! Owns the scripts that once failed, made short: each is a test of its own.

use super::run_script;
use super::script::{Act, Deed, Script, Step};

type Did = (u64, usize, Act);

fn person(at_ms: u64, who: usize, deed: Deed, roll: u64) -> Did {
    (at_ms, who, Act::User(deed, roll))
}

fn holds(seed: u64, machines: usize, oddness: u64, did: Vec<Did>) {
    let steps = did.into_iter().map(|(at_ms, who, act)| Step { at_ms, who, act }).collect();
    let script = Script { seed, machines, oddness, steps };
    let report = run_script(&script, 10_000);
    assert!(report.faults.is_empty(), "{script}{}{:#?}", report.tail, report.faults);
}

/// Seed 1052: the bytes went out before the removal of one of two names, others had removed the other.
#[test]
fn what_is_written_to_a_file_stays_though_two_devices_remove_its_two_names() {
    let did = vec![
        person(19_030, 1, Deed::Create, 5_941_971_527_232_318_137),
        person(47_164, 3, Deed::Link, 15_997_582_958_377_696_851),
        person(269_721, 2, Deed::MakeDir, 1_044_590_279_415_723_490),
        person(666_252, 2, Deed::MakeDir, 3_385_601_959_415_878_082),
        person(721_277, 2, Deed::Link, 7_630_822_768_085_484_334),
        person(733_907, 2, Deed::Unlink, 11_744_665_999_922_741_557),
        (935_514, 1, Act::Cut(true)),
        person(949_931, 3, Deed::Unlink, 1_206_809_638_178_747_496),
        person(974_234, 1, Deed::Replace, 9_438_077_175_499_974_462),
        person(981_697, 1, Deed::Unlink, 6_326_514_881_412_574_408),
        person(982_477, 1, Deed::Append, 13_161_308_396_766_693_875),
    ];
    holds(1052, 4, 0, did);
}

/// Seed 604: a node that the server had put beside its name was renamed over another by the name that it had wanted.
#[test]
fn what_the_server_gave_another_name_is_renamed_by_the_wanted_one() {
    let did = vec![
        person(8_660, 1, Deed::Create, 18_156_704_057_565_912_286),
        person(18_909, 0, Deed::Rename, 2_276_520_904_294_193_105),
        person(20_360, 0, Deed::Create, 1_254_505_953_365_645_207),
        (156_431, 1, Act::Cut(true)),
        person(264_106, 1, Deed::Rename, 16_042_008_651_477_653_676),
        person(572_994, 1, Deed::Create, 12_493_466_024_787_960_531),
        person(573_547, 1, Deed::Symlink, 8_993_304_466_038_607_272),
        person(825_984, 1, Deed::Exchange, 12_479_193_174_488_902_866),
        person(927_342, 0, Deed::Create, 8_976_722_717_479_871_377),
        person(931_682, 1, Deed::Rename, 5_215_729_737_780_623_071),
    ];
    holds(604, 2, 0, did);
}

/// Seed 1267: the same with creation, link, save and rename in one push.
#[test]
fn what_got_another_name_in_the_same_push_is_renamed_by_the_wanted_one() {
    let did = vec![
        person(4_018, 0, Deed::MakeDir, 8_983_054_872_668_097_413),
        (4_676, 0, Act::Cut(true)),
        person(527_175, 0, Deed::Create, 7_077_125_733_720_285_453),
        person(527_269, 0, Deed::Create, 10_058_365_147_626_490_952),
        person(536_988, 0, Deed::Unlink, 17_146_794_561_892_411_759),
        person(735_352, 0, Deed::Link, 8_461_160_536_730_813_210),
        person(737_939, 0, Deed::SafeSave, 8_177_939_447_513_879_246),
        person(738_025, 0, Deed::Rename, 14_019_730_378_312_472_502),
        person(937_360, 2, Deed::MakeDir, 16_864_860_382_130_531_539),
    ];
    holds(1267, 4, 0, did);
}

/// Seed 611: a save that was to be sent later still kept the name for itself after its answer.
#[test]
fn what_is_sent_later_lets_go_of_the_name_all_the_same() {
    let did = vec![
        person(20_557, 0, Deed::Create, 17_315_025_315_591_832_255),
        person(20_596, 0, Deed::MakeDir, 16_197_402_324_955_286),
        (172_170, 3, Act::Cut(true)),
        person(332_958, 3, Deed::SafeSave, 14_185_955_526_434_080_132),
        person(333_525, 3, Deed::Link, 11_686_036_317_959_780_907),
        person(802_983, 1, Deed::BackupSave, 5_220_447_322_412_808_016),
        person(820_629, 3, Deed::SafeSave, 10_730_308_660_053_955_239),
    ];
    holds(611, 4, 0, did);
}

/// Seed 668: the first of two writes was prepared again after the second, and the older bytes went last.
#[test]
fn what_is_prepared_again_is_not_overwritten_by_an_older_snapshot() {
    let did = vec![
        person(1_062, 3, Deed::Create, 11_539_356_787_194_120_193),
        person(8_263, 3, Deed::BackupSave, 4_484_046_724_492_467_547),
        person(12_283, 2, Deed::Rename, 11_318_323_570_166_339_807),
        person(17_120, 1, Deed::Create, 4_705_385_014_171_513_470),
        person(17_484, 1, Deed::Replace, 17_672_700_601_173_897_669),
        person(17_851, 1, Deed::Exchange, 8_473_202_859_124_453_418),
        person(18_485, 1, Deed::Unlink, 5_781_156_019_969_261_504),
        person(18_856, 0, Deed::Replace, 5_872_711_012_952_700_641),
        person(181_930, 3, Deed::Rename, 4_027_811_210_111_817_262),
        person(182_032, 3, Deed::Truncate, 6_490_795_779_018_774_451),
        person(289_251, 1, Deed::Create, 10_361_187_070_936_938_205),
        person(295_866, 1, Deed::Chmod, 9_385_276_136_943_209_400),
        person(310_477, 2, Deed::Append, 18_344_909_944_527_826_293),
        person(357_882, 0, Deed::Replace, 10_977_074_648_706_273_789),
        person(358_187, 0, Deed::Chmod, 17_455_426_931_931_805_104),
        person(358_380, 0, Deed::Overwrite, 14_298_210_377_439_166_137),
        person(373_579, 0, Deed::BackupSave, 3_387_185_046_160_329_669),
        person(574_632, 1, Deed::Link, 4_396_141_932_627_721_003),
        person(577_537, 1, Deed::Rename, 12_108_579_176_490_743_358),
        person(581_106, 1, Deed::Symlink, 13_378_763_632_724_476_525),
        person(581_217, 0, Deed::Unlink, 5_518_856_312_405_139_462),
        person(605_417, 2, Deed::Overwrite, 1_049_323_809_356_276_972),
        person(605_429, 2, Deed::Append, 16_756_481_085_780_254_957),
        person(605_647, 2, Deed::Append, 15_931_670_782_176_918_494),
    ];
    holds(668, 4, 30, did);
}

/// Seed 707: who removed a folder had the cursor behind a version that its own unsent bytes hid.
#[test]
fn a_version_that_unsent_bytes_hid_is_not_removed_with_its_folder() {
    let did = vec![
        person(8_400, 0, Deed::MakeDir, 249_927_499_352_463_366),
        person(19_583, 3, Deed::MakeDir, 917_372_172_423_217_025),
        person(19_708, 2, Deed::Create, 7_623_969_724_313_674_689),
        person(20_434, 2, Deed::BackupSave, 10_383_889_068_481_179_051),
        person(21_444, 2, Deed::Truncate, 651_088_196_776_105_729),
        person(23_192, 3, Deed::MakeDir, 9_886_535_052_789_158_902),
        person(23_489, 3, Deed::Replace, 5_967_031_050_808_242_877),
        person(209_449, 3, Deed::Append, 3_176_146_575_478_084_910),
        person(272_635, 1, Deed::Rename, 1_878_755_190_395_315_683),
        person(272_637, 1, Deed::Overwrite, 636_679_744_820_509_873),
        person(272_656, 1, Deed::Create, 5_311_005_252_940_796_103),
        person(274_516, 1, Deed::RemoveTree, 17_377_811_524_373_897_453),
    ];
    holds(707, 4, 0, did);
}

/// Seed 735: a creation was answered a second time, after others had removed the file and a pull had told of that.
#[test]
fn an_answer_that_comes_after_its_own_end_brings_nothing_back() {
    let did = vec![
        person(18_846, 1, Deed::Create, 9_626_989_095_799_898_991),
        person(19_032, 1, Deed::SafeSave, 17_047_739_412_779_262_490),
        person(19_429, 1, Deed::Create, 8_270_177_804_991_712_139),
        person(19_980, 0, Deed::Unlink, 17_821_295_533_581_051_512),
    ];
    holds(735, 3, 120, did);
}

/// Seed 951: as 707, with a file of another device that came while its removal was queued.
#[test]
fn a_version_that_came_during_a_removal_is_not_removed_with_its_folder() {
    let did = vec![
        person(1_576, 2, Deed::MakeDir, 16_020_919_699_790_965_194),
        person(3_671, 2, Deed::Xattr, 17_843_885_012_054_357_359),
        person(5_154, 2, Deed::MakeDir, 4_058_372_413_167_085_193),
        person(10_507, 0, Deed::Create, 1_713_142_571_616_069_953),
        person(14_571, 0, Deed::Replace, 164_883_399_413_930_054),
        person(18_566, 1, Deed::Rename, 17_838_376_153_168_793_262),
        person(18_829, 1, Deed::Link, 17_378_597_294_051_164_736),
        person(19_113, 1, Deed::Read, 8_268_403_930_239_960_600),
        person(26_061, 1, Deed::MakeDir, 12_079_758_534_556_034_504),
        person(96_146, 1, Deed::MakeDir, 17_912_613_515_820_474_445),
        person(96_504, 1, Deed::Create, 9_697_744_393_944_083_778),
        person(104_038, 1, Deed::SafeSave, 7_394_329_693_358_614_460),
        person(104_510, 1, Deed::Unlink, 6_286_289_764_283_796_256),
        person(109_636, 2, Deed::Chmod, 15_359_974_181_079_715_224),
        person(110_162, 2, Deed::Rename, 18_195_900_924_332_639_698),
        person(114_082, 3, Deed::Rename, 9_508_825_156_083_564_289),
        person(115_367, 3, Deed::Append, 13_527_304_632_379_526_177),
        person(115_382, 3, Deed::SafeSave, 7_468_931_330_386_131_564),
        person(116_940, 3, Deed::Append, 11_500_369_051_885_302_389),
        person(173_374, 0, Deed::Append, 6_206_057_214_322_605_586),
        person(189_293, 3, Deed::Overwrite, 17_042_667_739_146_566_315),
        person(194_629, 3, Deed::RemoveTree, 3_373_022_860_978_797_156),
    ];
    holds(951, 4, 120, did);
}
