"""A real Chromium."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    fetched = Path(sys.executable).with_name("chromium")
    found = str(fetched) if fetched.exists() else shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium: neither on the PATH nor fetched by make chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()
