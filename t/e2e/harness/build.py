"""Where what is tested was built, and how configuration is rendered: as scripts/up does it."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("SLUICE_TEST_BUILD", ROOT / "build" / "asan"))
NGINX = pathlib.Path(
    os.environ.get("SLUICE_TEST_NGINX", ROOT / "build" / "nginx-asan" / "objs" / "nginx")
)
MODULE = BUILD / "ngx_module" / "ngx_http_sluice_module.so"
SLUICED = BUILD / "daemon" / "sluiced"
LOGS_OF_FAILED = ROOT / "build" / "test-logs"


def render_conf(name, **values):
    command = [ROOT / "scripts" / "render-conf", ROOT / "conf" / name]
    command += [f"{key}={value}" for key, value in values.items()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sanitizer_environment(folder, part):
    """Reports go into files of their own: a worker's stderr is not always where one looks."""
    log_path = folder / "log" / f"sanitizer.{part}"
    leaks = ROOT / "t" / "e2e" / "harness" / "leaks.supp"
    return {
        # libfaketime may come first.
        "ASAN_OPTIONS": f"log_path={log_path}:detect_leaks=1:strict_string_checks=1:exitcode=99"
                        ":verify_asan_link_order=0",
        "UBSAN_OPTIONS": f"log_path={log_path}:print_stacktrace=1",
        "LSAN_OPTIONS": f"suppressions={leaks}:print_suppressions=0",
    }
