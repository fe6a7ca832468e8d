"""Tests of the APDUs: round trips, published octets, dispatch, and an independent ASN.1 compiler."""
