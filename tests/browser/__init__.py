"""larder.js in a real Chromium: ``make test-browser`` fetches one."""
