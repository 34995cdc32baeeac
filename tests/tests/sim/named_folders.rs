//! Owns scripts that once failed, made short: folders that others removed, and that come back with what was put in them.

use super::named::{person, script, script_holds};
use super::script::{Act, Deed, Script};

/// Seed 740766: a file was made, renamed and removed without a network in a folder that its person then renamed, while others
/// removed that folder and made it anew: the file was in the one made anew, and its removal looked for it in the other.
#[test]
fn what_is_made_in_a_folder_that_others_made_anew_goes_along_when_its_maker_renames_that() {
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
        person(502_131, 0, Deed::MakeDir, 7_087_577_203_943_146_441),
        person(502_530, 0, Deed::Rename, 12_743_795_726_019_560_444),
        person(689_707, 0, Deed::Overwrite, 850_290_810_009_451_390),
        person(690_220, 0, Deed::MakeDir, 8_833_566_536_893_878_492),
        person(693_493, 0, Deed::Rename, 12_595_371_931_010_738_969),
        person(884_200, 1, Deed::MakeDir, 4_801_906_732_929_326_721),
        person(908_860, 0, Deed::BackupSave, 11_798_536_089_563_893_781),
    ];
    script_holds(&Script { line_bytes: 99_761, ..script(740_766, 4, 0, did) });
}

/// Seed 790177: a file was made without a network in a folder that others had moved and removed, and its machine made another
/// folder where that one had been last: the file went there, and stayed when it was removed from the first, which was back.
#[test]
fn what_is_made_in_a_folder_that_others_moved_and_removed_is_found_where_it_went() {
    let did = vec![
        person(10_029, 1, Deed::Chmod, 17_011_433_107_590_283_275),
        person(10_352, 1, Deed::Create, 16_440_155_213_098_151_866),
        person(10_882, 1, Deed::Unlink, 1_246_324_252_978_646_987),
        person(16_857, 0, Deed::Replace, 5_198_140_796_871_149_193),
        person(16_913, 0, Deed::Create, 2_467_832_966_679_264_749),
        person(24_713, 3, Deed::MakeDir, 11_236_340_805_757_288_299),
        person(25_158, 3, Deed::MakeDir, 15_928_278_078_160_963_875),
        person(25_557, 3, Deed::Rename, 9_498_467_005_529_096_294),
        person(104_159, 1, Deed::Chmod, 948_045_858_603_418_153),
        person(132_989, 3, Deed::Rename, 812_032_172_153_685_733),
        person(133_090, 3, Deed::Create, 8_538_596_757_627_790_715),
        person(146_038, 4, Deed::Rename, 16_319_423_106_409_753_404),
        person(152_262, 4, Deed::Unlink, 5_433_099_407_288_040_035),
        person(155_999, 4, Deed::Rename, 8_259_301_419_818_364_395),
        person(156_170, 4, Deed::Exchange, 5_789_352_465_146_784_611),
        (172_604, 0, Act::Cut(false)),
        person(242_502, 2, Deed::RemoveTree, 1_684_253_917_938_428_777),
        person(294_727, 0, Deed::Create, 7_438_923_046_647_402_630),
        person(297_326, 0, Deed::Truncate, 12_129_835_853_973_736_771),
        person(303_939, 0, Deed::MakeDir, 4_251_686_685_655_033_702),
        person(477_496, 0, Deed::Rename, 6_057_782_864_052_574_819),
        person(512_954, 0, Deed::Rename, 2_059_883_485_195_803_121),
        person(518_991, 0, Deed::MakeDir, 4_437_883_537_646_012_378),
        person(698_422, 0, Deed::Unlink, 10_889_277_124_166_242_365),
    ];
    script_holds(&script(790_177, 5, 120, did));
}

/// Seed 834555: a file was saved with a backup in a folder that others had removed and made anew, and that its person had
/// exchanged with a file: the backup was back.
#[test]
fn what_is_removed_from_a_folder_that_came_back_by_an_exchange_stays_removed() {
    let did = vec![
        person(10_778, 3, Deed::Create, 8_468_659_300_673_671_844),
        person(14_689, 2, Deed::Create, 1_196_293_873_202_695_974),
        person(14_933, 1, Deed::Create, 5_189_153_500_066_353_706),
        person(15_010, 2, Deed::Replace, 10_942_490_076_494_243_542),
        person(17_883, 0, Deed::MakeDir, 6_609_812_827_315_569_326),
        person(18_414, 3, Deed::Unlink, 10_041_593_370_153_711_549),
        person(18_881, 3, Deed::Append, 15_867_553_343_616_881_844),
        person(22_087, 2, Deed::Append, 8_803_702_818_416_859_633),
        person(23_389, 2, Deed::MakeDir, 13_136_870_560_200_388_430),
        person(24_200, 0, Deed::Create, 6_581_689_836_751_985_418),
        person(29_007, 0, Deed::Rename, 15_382_842_246_921_579_639),
        person(88_376, 2, Deed::Truncate, 9_266_067_393_988_816_210),
        person(88_590, 2, Deed::MakeDir, 15_495_311_269_060_345_889),
        person(89_672, 2, Deed::Rename, 16_854_805_632_054_283_700),
        person(89_752, 2, Deed::Unlink, 14_071_918_625_571_519_814),
        person(175_596, 3, Deed::Autosave, 1_391_972_786_749_013_322),
        person(176_372, 0, Deed::Autosave, 927_050_479_607_657_827),
        (276_459, 0, Act::Cut(false)),
        person(408_503, 0, Deed::Create, 7_119_165_202_041_717_824),
        person(408_895, 0, Deed::Create, 3_938_740_866_548_048_769),
        person(411_234, 0, Deed::Link, 7_233_384_802_677_105_871),
        person(471_418, 0, Deed::Exchange, 1_948_246_506_260_136_071),
        person(471_478, 0, Deed::BackupSave, 6_423_579_937_553_197_038),
        person(657_839, 3, Deed::MakeDir, 1_824_408_742_283_334_946),
        person(669_714, 2, Deed::RemoveTree, 6_841_685_171_497_447_416),
        person(749_885, 2, Deed::MakeDir, 253_560_953_157_859_221),
    ];
    script_holds(&Script { keeps_here: true, ..script(834_555, 4, 30, did) });
}
