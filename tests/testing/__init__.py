"""Tests of `askbot_ws.testing`."""
