"""What others judge Tarn by, and what takes long at full size: fsx, a hundred thousand changes from elsewhere, a folder of a million names."""
from torture_crash import check


def fsx(house, args):
    """Five profiles of random operations read what they wrote: local, and sent and dropped again and again while others change."""
    forms = {"local": "fsx_reads_what_it_wrote_on_local_files",
             "sent and dropped": "fsx_reads_what_it_wrote_while_its_files_are_sent",
             "the same on a mount by root": "fsx_reads_what_it_wrote_on_a_mount_by_root"}
    return "; ".join(f"{form}: " + check(house, args, test, TARN_FSX_OPERATIONS=args.operations, TARN_TEST_REQUIRE_SUITES=1)
                     for form, test in forms.items())


def changes(house, args):
    """After random changes by one device, programs on the other see nothing stale: where the kernel reads by itself, and where the daemon does."""
    forms = {"passthrough": "programs_see_nothing_stale", "served by the daemon": "programs_see_nothing_stale_where_the_daemon"}
    exact = {"passthrough": ["--skip", "where_the_daemon"]}
    return "; ".join(f"{form}: " + check(house, args, test, *exact.get(form, []), TARN_CHANGES=args.changes) for form, test in forms.items())


def latency(house, args):
    """Metadata of what is known: p99.9 under 20 ms whatever the server does."""
    return check(house, args, "metadata_calls_on_what_is_known", TARN_LATENCY_MS=20)


def listings(house, args):
    """Each name of a large folder that stays is listed once while two devices change it."""
    return check(house, args, "each_name_of_a_large_folder_is_listed_once_each", TARN_LISTING_NAMES=args.names)
