"""What others judge Tarn by, and what takes long at full size: fsx, a folder of a million names, a hundred thousand changes from elsewhere."""
from torture_crash import check


def fsx(house, args):
    """Five profiles of random operations read what they wrote: local, and sent and dropped again and again while others change."""
    forms = {"local": "fsx_reads_what_it_wrote_on_local_files",
             "sent and dropped": "fsx_reads_what_it_wrote_while_its_files_are_sent",
             "the same on a mount by root": "fsx_reads_what_it_wrote_on_a_mount_by_root"}
    return "; ".join(f"{form}: " + check(house, args, test, TARN_FSX_OPERATIONS=args.operations, TARN_TEST_REQUIRE_SUITES=1)
                     for form, test in forms.items())
