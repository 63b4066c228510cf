"""Options of the test suite: slow tests run with ``--slow``, and always in CI."""

import os

import pytest
import torch


def pytest_addoption(parser):
    in_ci = bool(os.environ.get("CI"))
    parser.addoption("--slow", action="store_true", default=in_ci, help="run slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory):
    os.environ["POLYMODAL_CACHE"] = str(tmp_path_factory.mktemp("cache"))  # nobody's own cache is written to
