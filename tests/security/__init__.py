"""Tests of protection and sign-on proofs against published numbers and against liars."""
