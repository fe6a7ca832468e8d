"""The simulated meter: objects, roles, rights and keys behind the server side of an association.

`load_plan` reads a preset and a configuration, `Meter` builds it, `MeterServer` listens; `run_meter` does all
of it as a process, `run_fleet` the same with many meters.  `access_rows` says who may do what,
`credentials_of` what clients need.
"""

from meterseal.meter.access import AccessRow, access_rows, access_table
from meterseal.meter.config import PRESETS, check_preset, load_plan
from meterseal.meter.fleet import Fleet
from meterseal.meter.fleet_server import FleetServer, run_fleet, serve_fleet
from meterseal.meter.model import LogicalDevice, Meter
from meterseal.meter.plan import MeterPlan, ObjectPlan, RolePlan
from meterseal.meter.running import credentials_of, open_meter, run_meter, serve_meter, write_credentials
from meterseal.meter.server import MeterServer, Party

__all__ = [
    "PRESETS",
    "AccessRow",
    "Fleet",
    "FleetServer",
    "LogicalDevice",
    "Meter",
    "MeterPlan",
    "MeterServer",
    "ObjectPlan",
    "Party",
    "RolePlan",
    "access_rows",
    "access_table",
    "check_preset",
    "credentials_of",
    "load_plan",
    "open_meter",
    "run_fleet",
    "run_meter",
    "serve_fleet",
    "serve_meter",
    "write_credentials",
]
