//! The attacks that a function can make, one each: `attacks::NAME::attack`. They are one program, so that they are one link and
//! one component.

mod abort;
mod deep_recursion;
mod descriptor_hoarder;
mod disk_bytes;
mod disk_deep_tree;
mod disk_empty_files;
mod disk_hard_link_then_unlink;
mod disk_raw_writes;
mod disk_rename_over;
mod disk_sparse;
mod disk_unlink_while_open;
mod env_and_args;
mod error_string_huge;
mod exit_three;
mod exit_zero;
mod fill_memory_spin;
mod host_allocation_handles;
mod host_allocation_strings;
mod http_long_strings;
mod huge_result;
mod invalid_utf8_output;
mod memory_bomb_one_step;
mod memory_bomb_small_steps;
mod network_dns;
mod network_http;
mod network_loopback;
mod network_metadata_address;
mod network_udp_and_listen;
mod panic_while_panicking;
mod panic_with_ten_megabytes;
mod panics;
mod path_escapes;
mod poll_bomb;
mod random_bomb;
mod sleep_forever;
mod slow_to_end;
mod spin;
mod spin_in_host_calls;
mod spin_in_long_host_calls;
mod stack_overflow;
mod stderr_flood_without_newline;
mod stdout_flood;
mod stream_misuse;
mod thread_spawn;
mod unreachable;

fn main() {}
