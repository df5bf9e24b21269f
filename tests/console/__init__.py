"""The console in a browser, which its tests share."""
