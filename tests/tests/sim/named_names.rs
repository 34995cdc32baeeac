//! Owns scripts that once failed, made short: names that a kernel was not told of, and that others than their person gave.

use super::named::{person, script, script_holds};
use super::script::{Act, Deed, Script};

/// Seed 521531: memory had let go of a file with two names when another machine gave it a third, in a folder that had no
/// inode here yet.
#[test]
fn the_kernel_hears_of_one_more_name_of_what_memory_does_not_hold() {
    let did = vec![
        person(11_458, 1, Deed::MakeDir, 10_894_782_955_852_654_880),
        person(17_257, 0, Deed::Create, 4_874_168_577_398_562_999),
        person(120_706, 0, Deed::Create, 7_981_873_495_407_110_678),
        person(126_307, 0, Deed::Overwrite, 9_772_005_300_222_409_466),
        person(126_418, 0, Deed::Symlink, 4_128_680_975_654_501_705),
        person(127_456, 0, Deed::SafeSave, 14_736_897_643_561_123_920),
        person(142_194, 1, Deed::Link, 15_592_719_604_533_633_597),
        person(407_970, 0, Deed::Overwrite, 1_858_390_362_438_094_709),
        person(411_216, 0, Deed::Link, 972_987_620_107_937_235),
        person(516_765, 1, Deed::Open, 3_976_817_997_371_348_386),
    ];
    script_holds(&Script { keeps_here: true, line_bytes: 96_599, refusals: 60, ..script(521_531, 3, 0, did) });
}

/// Seed 510228: a file that was gone was renamed twice by a machine that had become its older copy. The answer to the first
/// brought it back, and memory let go of it before its kernel was told that the second name is something again.
#[test]
fn the_kernel_hears_of_what_an_answer_brings_back_under_a_later_name() {
    let did = vec![
        person(7_661, 0, Deed::Create, 4_292_413_657_174_677_075),
        person(10_906, 0, Deed::Create, 2_693_217_108_701_956_090),
        person(11_745, 1, Deed::Replace, 1_282_572_825_791_970_799),
        person(11_757, 1, Deed::Create, 8_166_771_709_986_389_192),
        person(12_621, 1, Deed::Create, 4_423_637_581_020_945_714),
        person(15_747, 0, Deed::Unlink, 2_434_071_955_687_288_619),
        person(15_910, 0, Deed::BackupSave, 15_371_447_771_538_676_955),
        person(15_996, 0, Deed::Rename, 11_893_411_658_394_987_689),
        (16_082, 0, Act::Backup),
        person(16_485, 0, Deed::Unlink, 12_068_117_576_606_827_485),
        person(16_621, 0, Deed::Unlink, 14_582_765_256_298_373_195),
        (25_836, 0, Act::RollBack),
        person(25_837, 0, Deed::Rename, 10_945_774_084_830_769_542),
        person(26_535, 0, Deed::Append, 5_522_221_387_407_157_049),
        person(564_533, 0, Deed::Autosave, 3_392_553_626_357_715_795),
    ];
    script_holds(&Script { refusals: 135, ..script(510_228, 2, 0, did) });
}

/// Seed 510727: two files exchanged their names, one of them not sent before, the other written to and removed by others. It came
/// back under the one name beside that the exchange could have taken, so neither moved.
#[test]
fn what_comes_back_takes_no_name_that_an_exchange_may_need() {
    let did = vec![
        person(702_164, 0, Deed::MakeDir, 17_155_124_715_727_456_183),
        person(702_237, 0, Deed::MakeDir, 18_036_612_010_237_214_379),
        person(853_015, 2, Deed::RemoveTree, 14_281_669_728_237_012_887),
        person(911_992, 1, Deed::MakeDir, 7_890_175_426_631_032_594),
        person(926_986, 3, Deed::Create, 15_322_786_209_893_739_176),
        person(927_185, 3, Deed::Create, 15_242_106_760_538_020_772),
        (975_141, 3, Act::Cut(true)),
        person(985_715, 4, Deed::Unlink, 15_818_490_094_784_918_253),
        person(987_170, 4, Deed::MakeDir, 6_864_812_857_422_935_815),
        person(1_162_564, 3, Deed::Append, 11_286_138_765_821_339_446),
        person(1_168_350, 3, Deed::Exchange, 15_278_539_447_102_591_299),
    ];
    script_holds(&Script { keeps_here: true, line_bytes: 77_150, ..script(510_727, 5, 0, did) });
}

/// Seed 500643: a file was to exchange its name with a folder into which others had moved its own. That was refused, and the
/// file stayed where it was; the check knew of no reason.
#[test]
fn what_the_server_refuses_to_move_stays_where_it_was() {
    let did = vec![
        person(1_487, 1, Deed::Symlink, 16_452_473_814_318_603_840),
        person(2_068, 1, Deed::MakeDir, 5_575_270_826_642_851_611),
        person(17_272, 2, Deed::Rename, 7_568_114_069_103_781_632),
        person(18_910, 2, Deed::Create, 10_659_720_501_660_672_006),
        person(69_766, 0, Deed::Rename, 17_794_228_918_060_989_453),
        person(70_092, 0, Deed::MakeDir, 13_872_130_593_524_939_031),
        person(70_134, 0, Deed::Create, 207_482_482_389_208_371),
        person(70_138, 0, Deed::Rename, 8_164_170_040_125_728_969),
        person(70_364, 0, Deed::MakeDir, 17_174_808_764_838_335_857),
        person(113_485, 1, Deed::Rename, 4_538_997_801_214_824_805),
        person(120_021, 1, Deed::MakeDir, 12_016_603_234_386_433_286),
        person(124_552, 1, Deed::Unlink, 5_524_317_090_936_277_715),
        person(124_784, 1, Deed::Rename, 12_876_102_497_532_795_780),
        (242_331, 0, Act::Cut(false)),
        person(325_087, 1, Deed::Rename, 12_682_657_002_199_452_541),
        person(367_816, 0, Deed::Create, 9_106_945_308_266_864_983),
        person(443_787, 0, Deed::Link, 8_107_399_272_472_713_617),
        person(821_665, 0, Deed::Create, 1_274_046_628_626_820_574),
        person(821_854, 0, Deed::Exchange, 1_331_325_866_427_612_832),
    ];
    script_holds(&Script { keeps_here: true, refusals: 171, ..script(500_643, 3, 0, did) });
}
