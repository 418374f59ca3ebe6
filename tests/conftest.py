"""One CPU platform, one Ray and one teacher engine for the whole test session."""

import json
import os
import shutil
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import resolved

from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.resolved import RUN_VARIABLE

cpu.install()  # before any test imports OpenRLHF
ROOT = Path(__file__).parent.parent
ThreadingHTTPServer.request_queue_size = 256  # of the 5 by default, some of 100 requests at once wait for minutes
os.chdir(ROOT)  # the examples name their files from the repository's root


@pytest.fixture(scope="session")
def ray_session():
    import ray  # most tests need none

    env = cpu.environment() | {RUN_VARIABLE: json.dumps({"for": "tests"})}
    ray.init(
        num_cpus=4,
        num_gpus=3,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=256 * 2**20,
        runtime_env={"env_vars": env, "worker_process_setup_hook": "scope_openrlhf.platform.cpu.install"},
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def teacher(ray_session):
    """The tiny teacher as a group of one replica at temperature 0.6."""
    from scope_openrlhf.teacher.group import TeacherGroup  # it imports Ray

    group = TeacherGroup(resolved.teacher(hang_seconds=10.0))
    group.start(seed=1)
    ray_session.get(group.handles[0].ready.remote(), timeout=180)
    yield group
    group.close()


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, driven over WebDriver."""
    from selenium import webdriver  # most tests need none

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip(
            "no chromium and chromedriver: make browser (or the packages chromium and chromium-driver) brings them"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    background = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1600", *background):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield started
    started.quit()
