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
