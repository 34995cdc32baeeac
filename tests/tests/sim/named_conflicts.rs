//! Owns scripts that once failed, made short: conflicts, and what a person, or a server that was put back, makes of them.

use super::named::{person, script, script_holds};
use super::script::{Act, Deed, Script};

/// Seed 936606: a person resolved a conflict having seen a machine's write to the sibling, and not the one before it to the file.
#[test]
fn who_has_seen_a_write_to_the_sibling_has_not_seen_the_one_before_to_the_file() {
    let did = vec![
        person(2_279, 0, Deed::Create, 16_289_213_841_289_359_827),
        person(2_649, 1, Deed::Link, 6_562_589_562_827_480_160),
        person(5_863, 2, Deed::Read, 6_911_296_031_250_052_605),
        person(9_363, 0, Deed::Append, 12_517_997_048_070_592_145),
        person(9_416, 0, Deed::Replace, 5_397_307_932_178_894_207),
        person(10_723, 2, Deed::Create, 4_806_143_055_850_843_247),
        person(11_640, 2, Deed::Create, 7_802_087_861_451_120_832),
        person(11_937, 2, Deed::Append, 7_885_552_650_774_505_059),
        person(16_687, 0, Deed::Unlink, 5_198_722_399_857_422_659),
        person(17_008, 0, Deed::Rename, 8_883_190_207_197_657_803),
        person(17_809, 3, Deed::Rename, 4_957_062_290_602_880_352),
        person(19_772, 3, Deed::Overwrite, 893_816_236_458_067_149),
        person(32_498, 3, Deed::SyncedSave, 9_658_949_791_615_214_932),
        (32_590, 3, Act::PowerCut(1, 2_961_871_005_031_254_001)),
        (69_266, 0, Act::Quota(Some(668))),
        person(70_484, 0, Deed::Create, 12_750_046_215_927_214_833),
        person(70_656, 0, Deed::SafeSave, 16_274_686_663_043_270_416),
        person(70_821, 0, Deed::Append, 15_853_863_269_886_859_648),
        (91_048, 3, Act::Resolve(1_373_345_402_165_361_305)),
    ];
    script_holds(&Script { line_bytes: 70_176, ..script(936_606, 4, 30, did) });
}

/// Seed 936346: a machine that became its older copy brought what it had brought into a conflict before, as another device. Who had
/// seen the first one's version saved upon it.
#[test]
fn what_two_devices_brought_into_one_conflict_has_not_been_seen_by_who_knows_of_one() {
    let did = vec![
        person(14_368, 1, Deed::Create, 760_158_337_081_522_834),
        (70_749, 0, Act::Cut(true)),
        person(86_656, 3, Deed::Autosave, 4_645_081_523_629_183_546),
        person(92_791, 0, Deed::Rename, 6_513_746_752_028_598_387),
        person(93_186, 0, Deed::Create, 4_354_925_090_108_452_041),
        person(93_230, 1, Deed::Autosave, 2_994_816_275_870_541_923),
        (98_739, 0, Act::Backup),
        person(102_003, 0, Deed::MakeDir, 436_888_307_805_563_207),
        (125_188, 0, Act::Heal),
        (193_102, 4, Act::Cut(false)),
        person(374_270, 4, Deed::Replace, 11_145_262_010_644_276_460),
        (624_452, 0, Act::RollBack),
    ];
    script_holds(&Script { line_bytes: 148_025, ..script(936_346, 5, 120, did) });
}

/// Seed 936346 in full: that conflict was resolved while somebody without a network wrote to its sibling. The machine that had brought
/// it became its older copy, brought it once more, and had the name by then.
#[test]
fn what_a_machine_brings_again_as_another_device_has_not_been_seen_by_who_saw_it_the_first_time() {
    let did = vec![
        person(14_368, 1, Deed::Create, 760_158_337_081_522_834),
        person(25_749, 2, Deed::SafeSave, 16_376_120_435_693_821_747),
        (70_749, 0, Act::Cut(true)),
        person(74_930, 1, Deed::Autosave, 10_639_767_939_105_318_667),
        person(86_651, 3, Deed::Autosave, 12_916_130_724_186_257_138),
        person(86_656, 3, Deed::Autosave, 4_645_081_523_629_183_546),
        person(92_791, 0, Deed::Rename, 6_513_746_752_028_598_387),
        person(93_186, 0, Deed::Create, 4_354_925_090_108_452_041),
        person(93_230, 1, Deed::Autosave, 2_994_816_275_870_541_923),
        (95_204, 4, Act::Resolve(13_567_089_770_255_318_928)),
        (98_739, 0, Act::Backup),
        person(102_003, 0, Deed::MakeDir, 436_888_307_805_563_207),
        (125_188, 0, Act::Heal),
        (193_102, 4, Act::Cut(false)),
        (250_844, 2, Act::Resolve(7_012_834_845_795_455_224)),
        person(374_270, 4, Deed::Replace, 11_145_262_010_644_276_460),
        (624_452, 0, Act::RollBack),
    ];
    script_holds(&Script { line_bytes: 148_025, ..script(936_346, 5, 120, did) });
}

/// Seed 931102: a machine had not heard, when its power went, that its write had lost a conflict, and sent it again before others
/// brought back what the server had lost of that: the same bytes were there as a sibling, too.
#[test]
fn what_is_sent_again_before_its_conflict_is_back_has_no_sibling() {
    let did = vec![
        person(564_100, 2, Deed::SyncedSave, 17_925_749_605_906_440_320),
        (691_021, 3, Act::Join),
        person(691_845, 3, Deed::Create, 15_311_438_921_268_602_962),
        person(693_665, 3, Deed::Rename, 7_817_616_451_826_720_133),
        person(693_881, 3, Deed::Overwrite, 8_828_486_301_732_606_909),
        person(791_759, 3, Deed::Create, 15_061_385_197_507_935_688),
        person(798_487, 3, Deed::Append, 13_600_910_235_548_712_893),
        person(877_914, 2, Deed::MakeDir, 15_327_202_967_469_585_535),
        person(878_416, 2, Deed::BackupSave, 6_685_050_106_406_121_594),
        person(885_790, 2, Deed::Chmod, 14_052_185_221_493_199_477),
        (887_322, 3, Act::Fill(Some(0))),
        person(887_323, 3, Deed::Exchange, 5_337_282_345_258_630_002),
        person(887_494, 3, Deed::Overwrite, 6_763_262_422_491_027_399),
        (938_691, 0, Act::BackUpServer),
        (970_283, 3, Act::Cut(true)),
        person(998_609, 3, Deed::Append, 8_294_671_077_726_171_133),
        person(1_007_200, 0, Deed::Truncate, 17_238_919_595_817_444_110),
        (1_019_935, 3, Act::Heal),
        (1_055_055, 3, Act::DatabaseCut(84, 1_985_413_937_404_419_237)),
        (1_085_314, 0, Act::PutServerBack(true)),
    ];
    script_holds(&Script { refusals: 113, ..script(931_102, 4, 5, did) });
}
