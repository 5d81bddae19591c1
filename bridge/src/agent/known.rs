//! The names that an agent knows (`src/slave/flags.cpp`, `src/slave/main.cpp`, `src/logging/flags.cpp`, `containerizer.cpp`, Mesos
//! 1.12-dev, built for Linux with all its options).

/// The flags, with the names that they had before.
const FLAGS: &str = "\
    acls advertise_ip advertise_port agent_features agent_subsystems allowed_capabilities allowed_devices \
    appc_simple_discovery_uri_prefix appc_store_dir attributes authenticate_http_executors authenticate_http_readonly \
    authenticate_http_readwrite authenticatee authentication_backoff_factor authentication_timeout_max \
    authentication_timeout_min authorizer bounding_capabilities cgroups_cpu_enable_pids_and_tids_count \
    cgroups_destroy_timeout cgroups_enable_cfs cgroups_hierarchy cgroups_limit_swap cgroups_net_cls_primary_handle \
    cgroups_net_cls_secondary_handles cgroups_root check_agent_port_range_only container_disk_watch_interval \
    container_logger container_ports_isolated_range container_ports_watch_interval containerizers credential \
    csi_plugin_config_dir default_container_dns default_container_info default_container_shm_size default_role \
    disallow_sharing_agent_ipc_namespace disallow_sharing_agent_pid_namespace disk_profile_adaptor disk_watch_interval \
    docker docker_config docker_ignore_runtime docker_kill_orphans docker_mesos_image docker_registry docker_remove_delay \
    docker_socket docker_stop_timeout docker_store_dir docker_volume_checkpoint_dir docker_volume_chown domain \
    domain_socket_location effective_capabilities egress_burst egress_ceil_limit egress_flow_classifier_parent \
    egress_rate_limit_per_container egress_rate_per_cpu egress_unique_flow_per_container enforce_container_disk_quota \
    enforce_container_ports ephemeral_ports_per_container executor_environment_variables executor_registration_timeout \
    executor_reregistration_retry_interval executor_reregistration_timeout executor_secret_key \
    executor_shutdown_grace_period external_log_file fetcher_cache_dir fetcher_cache_size fetcher_stall_timeout \
    firewall_rules frameworks_home gc_delay gc_disk_headroom gc_non_executor_container_sandboxes hadoop_home help hooks \
    host_path_volume_force_creation hostname hostname_lookup http_authenticators http_command_executor http_credentials \
    http_executor_domain_sockets http_heartbeat_interval image_gc_config image_providers image_provisioner_backend \
    ingress_burst ingress_ceil_limit ingress_isolate_existing_containers ingress_rate_limit_per_container \
    ingress_rate_per_cpu initialize_driver_logging ip ip_discovery_command isolation jwt_secret_key launcher lo_name \
    log_dir logbufsecs logging_level master master_detector max_completed_executors_per_framework \
    maximum_egress_rate_limit maximum_ingress_rate_limit memory_profiling minimum_egress_rate_limit \
    minimum_ingress_rate_limit modules modules_dir network_cni_config_dir network_cni_metrics network_cni_plugins_dir \
    network_cni_root_dir_persist network_enable_rate_statistics network_enable_snmp_statistics \
    network_enable_socket_statistics_details network_enable_socket_statistics_summary network_link_speed \
    network_rate_statistics_interval network_rate_statistics_window nvidia_gpu_devices oversubscribed_resources_interval \
    perf_duration perf_events perf_interval port qos_controller qos_correction_interval_min quiet reconfiguration_policy \
    recover recovery_timeout registration_backoff_factor resource_estimator resource_provider_config_dir resources \
    revocable_cpu_low_priority runtime_dir sandbox_directory seccomp_config_dir seccomp_profile_name secret_resolver \
    slave_subsystems strict switch_user systemd_enable_support systemd_runtime_directory version volume_gid_range work_dir \
    xfs_kill_containers xfs_project_range xfs_quota_headroom zk_session_timeout";

/// Those of the flags that are switches.
const SWITCHES: &str = "\
    authenticate_http_executors authenticate_http_readonly authenticate_http_readwrite \
    cgroups_cpu_enable_pids_and_tids_count cgroups_enable_cfs cgroups_limit_swap check_agent_port_range_only \
    disallow_sharing_agent_ipc_namespace disallow_sharing_agent_pid_namespace docker_ignore_runtime docker_kill_orphans \
    docker_volume_chown egress_unique_flow_per_container enforce_container_disk_quota enforce_container_ports \
    gc_non_executor_container_sandboxes help hostname_lookup http_command_executor http_executor_domain_sockets \
    ingress_isolate_existing_containers initialize_driver_logging memory_profiling network_cni_metrics \
    network_cni_root_dir_persist network_enable_rate_statistics network_enable_snmp_statistics \
    network_enable_socket_statistics_details network_enable_socket_statistics_summary quiet revocable_cpu_low_priority \
    strict switch_user systemd_enable_support version xfs_kill_containers";

/// The isolators, with the names that they had before.
const ISOLATORS: &str = "\
    appc/runtime cgroups cgroups/all cgroups/blkio cgroups/cpu cgroups/cpuset cgroups/devices cgroups/hugetlb cgroups/mem \
    cgroups/net_cls cgroups/net_prio cgroups/perf_event cgroups/pids disk/du disk/xfs docker/runtime docker/volume \
    environment_secret filesystem/linux filesystem/posix filesystem/shared filesystem/windows gpu/nvidia \
    linux/capabilities linux/devices linux/nnp linux/seccomp namespaces/ipc namespaces/pid network/cni \
    network/port_mapping network/ports posix/cpu posix/disk posix/mem posix/rlimits process volume/csi volume/host_path \
    volume/image volume/sandbox_path volume/secret windows/cpu windows/mem";

/// The names of all flags.
pub(super) fn flags() -> impl Iterator<Item = &'static str> {
    FLAGS.split_ascii_whitespace()
}

/// The names of all isolators that are no modules.
pub(super) fn isolators() -> impl Iterator<Item = &'static str> {
    ISOLATORS.split_ascii_whitespace()
}

/// Whether the flag is a switch, which needs no value.
pub(super) fn is_switch(flag: &str) -> bool {
    SWITCHES.split_ascii_whitespace().any(|switch| switch == flag)
}
