"""The page server as a web server: its process, addresses, access, limits, memory and watchdog. Knows pages as applications."""
