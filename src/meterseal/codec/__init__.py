"""A value to octets and back: A-XDR Data, declarations of messages, BER for ACSE; knows octets only."""
