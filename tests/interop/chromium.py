"""How Chromium is started without a screen, whoever drives it."""

#: It talks to nobody but to the pages that tests give it.
HEADLESS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-sync",
]
#: Far more than it takes on a busy machine, in seconds.
BOUND = 120
