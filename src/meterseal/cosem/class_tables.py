"""The interface-class tables as text: one line per member, read by `classes`.

    static|dynamic INDEX NAME SHAPE          an attribute (1, logical_name, goes without saying)
    method INDEX NAME PARAMETER [-> ANSWER]  a method; "i8" is the customary integer 0

A line that starts with none of these goes on with the one above. Shapes are in the notation of
`shapes`. Sources: fact sheets classes 2 to 10 and more 6, 7, 9, which
mark what rests on one source alone (classes 122 to 124, the newest versions of 40).
"""

from __future__ import annotations

from typing import Final

_ASSOCIATION: Final = """
    static  2 object_list [@object_list_element]
    static  3 associated_partners_id {client_SAP i8, server_SAP u16}
    static  4 application_context_name any
    static  5 xDLMS_context_info {conformance bits, max_receive_pdu_size u16, max_send_pdu_size u16,
                dlms_version_number u8, quality_of_service i8, cyphering_info os}
    static  6 authentication_mechanism_name any
    static  7 secret os
    dynamic 8 association_status enum
    method  1 reply_to_HLS_authentication os -> os
    method  2 change_HLS_secret os
    method  3 add_object @object_list_element
    method  4 remove_object @object_list_element
"""
_ASSOCIATION_1: Final = _ASSOCIATION + "static 9 security_setup_reference ln\n"
_ASSOCIATION_2: Final = (
    _ASSOCIATION_1
    + """
    static  10 user_list [@user]
    dynamic 11 current_user @user
    method  5 add_user @user
    method  6 remove_user @user
"""
)

_SECURITY_SETUP: Final = """
    static  2 security_policy enum
    static  3 security_suite enum
    dynamic 4 client_system_title os
    static  5 server_system_title os
    method  1 security_activate enum
    method  2 key_transfer [{key_id enum, key_wrapped os}]
"""

_PUSH: Final = """
    static  3 send_destination_and_method {transport_service enum, destination os, message enum}
    static  4 communication_window [{start_time date-time, end_time date-time}]
    static  5 randomisation_start_interval u16
    static  6 number_of_retries u8
    method  1 push i8
"""
_PUSH_0: Final = "static 2 push_object_list [@capture_object]\nstatic 7 repetition_delay u16\n"
_PUSH_1: Final = """
    static  2 push_object_list [@object_definition]
    static  7 repetition_delay u16
    static  8 port_reference ln
    static  9 push_client_SAP i8
    static  10 push_protection_parameters @protection_parameters
"""
_PUSH_2: Final = """
    static  2 push_object_list [any]
    static  7 repetition_delay {min u16, exponent u16, max u16}
    static  8 port_reference ln
    static  9 push_client_SAP i8
    static  10 push_protection_parameters @protection_parameters
    static  11 push_operation_method enum
    static  12 confirmation_parameters {start date-time-25, interval u32}
    dynamic 13 last_confirmation_date_time date-time-25
    method  2 reset i8
"""

_CALENDAR_HALF: Final = """
    static  {0} calendar_name_{4} os
    static  {1} season_profile_{4} [@season]
    static  {2} week_profile_table_{4} [@week]
    static  {3} day_profile_table_{4} [@day]
"""

CLASSES: Final[tuple[tuple[int, int, str, str], ...]] = (
    (1, 0, "Data", "dynamic 2 value any"),
    (3, 0, "Register", """
        dynamic 2 value any
        static  3 scaler_unit @scaler_unit
        method  1 reset i8"""),
    (4, 0, "Extended register", """
        dynamic 2 value any
        static  3 scaler_unit @scaler_unit
        dynamic 4 status any
        dynamic 5 capture_time date-time
        method  1 reset i8"""),
    (5, 0, "Demand register", """
        dynamic 2 current_average_value any
        dynamic 3 last_average_value any
        static  4 scaler_unit @scaler_unit
        dynamic 5 status any
        dynamic 6 capture_time date-time
        dynamic 7 start_time_current date-time
        static  8 period u32
        static  9 number_of_periods u16
        method  1 reset i8
        method  2 next_period i8"""),
    (6, 0, "Register activation", """
        static  2 register_assignment [@object]
        static  3 mask_list [{mask_name os, index_list [u8]}]
        dynamic 4 active_mask os
        method  1 add_register @object
        method  2 add_mask {mask_name os, index_list [u8]}
        method  3 delete_mask os"""),
    (7, 1, "Profile generic", """
        dynamic 2 buffer [any]
        static  3 capture_objects [@capture_object]
        static  4 capture_period u32
        static  5 sort_method enum
        static  6 sort_object @capture_object
        dynamic 7 entries_in_use u32
        static  8 profile_entries u32
        method  1 reset i8
        method  2 capture i8"""),
    (8, 0, "Clock", """
        dynamic 2 time date-time
        static  3 time_zone i16
        dynamic 4 status u8
        static  5 daylight_savings_begin date-time
        static  6 daylight_savings_end date-time
        static  7 daylight_savings_deviation i8
        static  8 daylight_savings_enabled bool
        static  9 clock_base enum
        method  1 adjust_to_quarter i8
        method  2 adjust_to_measuring_period i8
        method  3 adjust_to_minute i8
        method  4 adjust_to_preset_time i8
        method  5 preset_adjusting_time {preset_time date-time, validity_interval_start date-time,
                    validity_interval_end date-time}
        method  6 shift_time i16"""),
    (9, 0, "Script table", """
        static  2 scripts [{script_identifier u16, actions [{service_id enum, class_id u16,
                    logical_name ln, index i8, parameter any}]}]
        method  1 execute u16"""),
    (11, 0, "Special days table", """
        static  2 entries [{index u16, specialday_date date, day_id u8}]
        method  1 insert {index u16, specialday_date date, day_id u8}
        method  2 delete u16"""),
    (15, 0, "Association LN", _ASSOCIATION),
    (15, 1, "Association LN", _ASSOCIATION_1),
    (15, 2, "Association LN", _ASSOCIATION_2),
    (15, 3, "Association LN", _ASSOCIATION_2),
    (17, 0, "SAP assignment", """
        static  2 SAP_assignment_list [{SAP u16, logical_device_name os}]
        method  1 connect_logical_device {SAP u16, logical_device_name os}"""),
    (18, 0, "Image transfer", """
        static  2 image_block_size u32
        dynamic 3 image_transferred_blocks_status bits
        dynamic 4 image_first_not_transferred_block_number u32
        static  5 image_transfer_enabled bool
        dynamic 6 image_transfer_status enum
        dynamic 7 image_to_activate_info [{size u32, identification os, signature os}]
        method  1 image_transfer_initiate {image_identifier os, image_size u32}
        method  2 image_block_transfer {image_block_number u32, image_block_value os}
        method  3 image_verify i8
        method  4 image_activate i8"""),
    (20, 0, "Activity calendar", (
        _CALENDAR_HALF.format(2, 3, 4, 5, "active") + _CALENDAR_HALF.format(6, 7, 8, 9, "passive") + """
        static  10 activate_passive_calendar_time date-time
        method  1 activate_passive_calendar i8""")),
    (21, 0, "Register monitor", """
        static  2 thresholds [any]
        static  3 monitored_value @attribute
        static  4 actions [{action_up @script, action_down @script}]"""),
    (22, 0, "Single action schedule", """
        static  2 executed_script @script
        static  3 type enum
        static  4 execution_time [{time time, date date}]"""),
    (23, 1, "IEC HDLC setup", """
        static  2 comm_speed enum
        static  3 window_size_transmit u8
        static  4 window_size_receive u8
        static  5 max_info_field_length_transmit u16
        static  6 max_info_field_length_receive u16
        static  7 inter_octet_time_out u16
        static  8 inactivity_time_out u16
        static  9 device_address u16"""),
    (30, 0, "COSEM data protection", """
        dynamic 2 protection_buffer os
        static  3 protection_object_list [@object_definition]
        static  4 protection_parameters_get @protection_parameters
        static  5 protection_parameters_set @protection_parameters
        static  6 required_protection enum
        method  1 get_protected_attributes {object_list [@object_definition],
                    get_protection_parameters @protection_parameters} -> {protection_parameters
                    @protection_parameters, protected_attributes os}
        method  2 set_protected_attributes {object_list [@object_definition],
                    set_protection_parameters @protection_parameters, protected_attributes os}
        method  3 invoke_protected_method {object_method @attribute, protection_parameters
                    @protection_parameters, protected_method_invocation_parameters os} -> any"""),
    (40, 0, "Push setup", _PUSH + _PUSH_0),
    (40, 1, "Push setup", _PUSH + _PUSH_1),
    (40, 2, "Push setup", _PUSH + _PUSH_2),
    (41, 0, "TCP-UDP setup", """
        static  2 TCP_UDP_port u16
        static  3 IP_reference ln
        static  4 MSS u16
        static  5 nb_of_sim_conn u8
        static  6 inactivity_time_out u16"""),
    (42, 0, "IPv4 setup", """
        static  2 DL_reference ln
        static  3 IP_address u32
        static  4 multicast_IP_address [u32]
        static  5 IP_options [{type u8, length u8, data os}]
        static  6 subnet_mask u32
        static  7 gateway_IP_address u32
        static  8 use_DHCP_flag bool
        static  9 primary_DNS_address u32
        static  10 secondary_DNS_address u32
        method  1 add_mc_IP_address u32
        method  2 delete_mc_IP_address u32
        method  3 get_nbof_mc_IP_addresses i8 -> u16"""),
    (62, 1, "Compact data", """
        dynamic 2 compact_buffer os
        static  3 capture_objects [any]
        static  4 template_id u8
        dynamic 5 template_description os
        static  6 capture_method enum
        method  1 reset i8
        method  2 capture i8"""),
    (64, 0, "Security setup", _SECURITY_SETUP),
    (64, 1, "Security setup", _SECURITY_SETUP + """
        dynamic 6 certificates [{entity enum, type enum, serial_number os, issuer os, subject os,
                    subject_alt_name os}]
        method  3 key_agreement [{key_id enum, key_data os}] -> [{key_id enum, key_data os}]
        method  4 generate_key_pair enum
        method  5 generate_certificate_request enum -> os
        method  6 import_certificate os
        method  7 export_certificate @certificate_identification -> os
        method  8 remove_certificate @certificate_identification"""),
    (68, 0, "Arbitrator", """
        static  2 actions [@script]
        static  3 permissions_table [bits]
        static  4 weightings_table [[u16]]
        dynamic 5 most_recent_requests_table [bits]
        dynamic 6 last_outcome u8
        method  1 request_action {request_actor u8, request_action_list bits}
        method  2 reset i8"""),
    (70, 0, "Disconnect control", """
        dynamic 2 output_state bool
        dynamic 3 control_state enum
        static  4 control_mode enum
        method  1 remote_disconnect i8
        method  2 remote_reconnect i8"""),
    (71, 0, "Limiter", """
        static  2 monitored_value @attribute
        dynamic 3 threshold_active any
        static  4 threshold_normal any
        static  5 threshold_emergency any
        static  6 min_over_threshold_duration u32
        static  7 min_under_threshold_duration u32
        static  8 emergency_profile {emergency_profile_id u16, emergency_activation_time date-time,
                    emergency_duration u32}
        static  9 emergency_profile_group_id_list [u16]
        dynamic 10 emergency_profile_active bool
        static  11 actions {action_over_threshold @script, action_under_threshold @script}"""),
    (122, 0, "Function control", """
        dynamic 2 activation_status [{function_name os, activated bool}]
        static  3 function_list [{function_name os, functions [@object]}]
        method  1 set_function_status [{function_name os, activated bool}]
        method  2 add_function {function_name os, functions [@object]}
        method  3 remove_function {function_name os, functions [@object]}"""),
    (123, 0, "Array manager", """
        static  2 array_object_list [{array_object_id u8, object @attribute}]
        method  1 retrieve_number_of_entries u8 -> u16
        method  2 retrieve_entries {array_object_id u8, entries {from u16, to u16}} -> any
        method  3 insert_entry {array_object_id u8, entry {index u16, value any}}
        method  4 update_entry {array_object_id u8, entry {index u16, value any}}
        method  5 remove_entries {array_object_id u8, entries {from u16, to u16}}"""),
    (124, 0, "Communication port protection", """
        static  2 protection_mode enum
        static  3 allowed_failed_attempts u16
        static  4 initial_lockout_time u32
        static  5 steepness_factor u8
        static  6 max_lockout_time u32
        static  7 port_reference ln
        dynamic 8 protection_status enum
        dynamic 9 failed_attempts u32
        dynamic 10 cumulative_failed_attempts u32
        method  1 reset i8"""),
)  # fmt: skip
