"""How JupyterLab is set: ``larder workbench`` starts it with this file."""

import os
import secrets
from pathlib import Path

c = get_config()  # type: ignore[name-defined]  # noqa: F821 (Jupyter's own, where it reads this)

c.ServerApp.open_browser = False
c.ServerApp.port_retries = 0
c.ServerApp.allow_root = True
c.Application.log_level = "ERROR"  # warnings show a token that came in a URL
c.KernelManager.shutdown_wait_time = 1.0
c.KernelManager.transport_encryption = "auto"

# Kernels inherit the environment, and a notebook that shows it may be shared.
c.IdentityProvider.token = os.environ.pop("JUPYTER_TOKEN")
c.ServerApp.cookie_secret = secrets.token_bytes(32)  # who once had another token is not let in
c.PasswordIdentityProvider.allow_password_change = False

# It asks nobody on the internet for news, releases and extensions, nor its user whether to.
c.LabApp.app_settings_dir = str(Path(__file__).with_name("settings"))
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
