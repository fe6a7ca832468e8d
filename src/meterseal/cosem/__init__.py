"""COSEM words: names, times, units, rights, interface-class tables, and how values are shown.

Nothing here talks to anybody: octets and decoded values in, typed values out. Upper packages
import the modules directly (`from meterseal.cosem.obis import Obis`).
"""
