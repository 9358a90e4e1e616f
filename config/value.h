// The types of the key table: how each kind of value is read and refused.
#pragma once

#include "config/keys.h"

extern const struct config_type type_bool;	  // bool
extern const struct config_type type_number;	  // uint32_t
extern const struct config_type type_choice;	  // uint32_t
extern const struct config_type type_text;	  // char[], printable
extern const struct config_type type_ifname;	  // char[IFNAME_LEN], may be ""
extern const struct config_type type_path;	  // char[], absolute
extern const struct config_type type_device;	  // char[], DPDK's name of a device
extern const struct config_type type_cpus;	  // uint32_t[CONFIG_WORKERS_MAX], then the count
extern const struct config_type type_udp_ports;	  // struct config_udp_ports
extern const struct config_type type_addresses;	  // struct config_addresses
extern const struct config_type type_endpoints;	  // struct config_endpoints
extern const struct config_type type_dns_listen;  // struct config_endpoints, port 53 unless given
extern const struct config_type type_listen;	  // struct endpoint, an address with its port
extern const struct config_type type_public_key;  // struct key
extern const struct config_type type_secret;	  // struct key, written in the file
extern const struct config_type type_secret_file; // struct key, in a file of its own
extern const struct config_type type_endpoint;	  // struct config_peer
extern const struct config_type type_allowed_ips; // struct config_peer
extern const struct config_type type_port_range;  // struct config_port_range
extern const struct config_type type_hosts;	  // struct config_hosts
extern const struct config_type type_pool;	  // struct config_nat
extern const struct config_type type_remap;	  // struct config_nat
extern const struct config_type type_ranges;	  // struct config_learned
extern const struct config_type type_protocols;	  // struct config_learned
extern const struct config_type type_domains;	  // struct config_domains
extern const struct config_type type_services;	  // struct config_services
extern const struct config_type type_section;	  // list of groups; the reader walks it itself
