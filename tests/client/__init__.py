"""Tests of the client: against a fake meter in memory and over TCP, in both drivers."""
