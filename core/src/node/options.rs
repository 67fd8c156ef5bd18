//! The options of each room, from the configuration.

use crate::access::Access;
use crate::client_port::{ClientPortOptions, RequestThrottle};
use crate::config::Config;
use crate::disk::{Compression, DiskOptions, STORABLE_BYTES};
use crate::election::ElectionOptions;
use crate::prep::PrepOptions;
use crate::store::StoreOptions;
use crate::zab::{EnsembleOptions, ReadConfig};

use super::reconfig;

/// Room for a packet's head beside the longest transaction.
const PACKET_HEADROOM: usize = 1 << 16;

/// Options of the disk machine for this configuration.
pub fn disk_options(config: &Config) -> DiskOptions {
    DiskOptions {
        ensemble: config.ensemble.is_some(),
        preallocate_bytes: config.storage.pre_alloc_size_kb << 10,
        log_size_limit_bytes: u64::try_from(config.storage.txn_log_size_limit_kb)
            .ok()
            .filter(|kb| *kb > 0)
            .map(|kb| kb << 10),
        force_sync: config.storage.force_sync,
        max_record_bytes: storable_bytes(config),
        commit_log_count: config.quorum.commit_log_count,
        trust_empty: config.storage.trust_empty_snapshot,
        autocreate: config.storage.db_autocreate,
        make_dirs: config.storage.datadir_autocreate,
        compression: Compression::from_name(&config.storage.snapshot_compression),
        slow_sync_ms: config.storage.slow_sync_ms,
        serialize_last_zxid: config.storage.serialize_last_zxid,
        snap_retain_count: config.storage.purge_retain_count,
        autopurge: config.storage.purge_interval_hours > 0,
        ..DiskOptions::new(config.storage.data_dir.as_str(), config.storage.data_log_dir.as_str())
    }
}

/// Options of the znode store for this configuration; who has clients adds a seed that they do not
/// know.
pub fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        extended_types: config.tree.extended_types,
        emulate_353: config.tree.emulate_353,
        digest: config.tree.digest_enabled,
        max_field_bytes: storable_bytes(config),
        hash_seed: 0,
    }
}

pub(super) fn prep_options(config: &Config) -> PrepOptions {
    PrepOptions {
        extended_types: config.tree.extended_types,
        enforce_quota: config.tree.enforce_quota,
        protect_system_nodes: config.security.protect_system_nodes,
        access: access(config),
        max_txn_bytes: max_txn_bytes(config),
    }
}

pub(super) fn client_port_options(config: &Config) -> ClientPortOptions {
    ClientPortOptions {
        server: if config.ensemble.is_some() { config.my_id.0 } else { 1 },
        min_session_timeout_ms: config.sessions.min_timeout_ms,
        max_session_timeout_ms: config.sessions.max_timeout_ms,
        max_client_connections: config.limits.max_client_connections,
        max_connections: config.limits.max_connections,
        jute_max_buffer: config.limits.jute_max_buffer,
        sessionless_timeout_ms: config.network.sessionless_timeout_ms,
        local_sessions: config.sessions.local_sessions && config.ensemble.is_some(),
        connection_throttle: config.limits.connection_throttle.clone(),
        large_request_bytes: config.limits.large_request_bytes.unwrap_or(usize::MAX),
        large_requests_max_bytes: config.limits.large_requests_max_bytes,
        enforced_schemes: config
            .security
            .enforced_schemes
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        access: access(config),
        outstanding_limit: config.limits.global_outstanding_limit.max(1),
        turn_budget: config.limits.turn_budget,
        requests: RequestThrottle {
            max_requests: config.limits.max_requests,
            max_wait_ms: config.limits.throttled_op_wait_ms,
        },
    }
}

pub(super) fn ensemble_options(config: &Config) -> EnsembleOptions {
    EnsembleOptions {
        tick_time_ms: config.sessions.tick_time_ms,
        init_limit: config.quorum.init_limit,
        sync_limit: config.quorum.sync_limit,
        commit_log_count: config.quorum.commit_log_count,
        snapshot_size_factor: config.quorum.snapshot_size_factor,
        force_snapshot_sync: false,
        sync_needs_quorum: config.quorum.sync_needs_quorum,
        observer_master_port: config.network.observer_master_port,
        max_payload: max_txn_bytes(config).saturating_add(PACKET_HEADROOM),
        max_from_members: storable_bytes(config),
        jute_max_buffer: config.limits.jute_max_buffer,
        election: ElectionOptions {
            finalize_wait_ms: config.quorum.finalize_wait_ms,
            min_notification_ms: config.quorum.min_notification_ms,
            max_notification_ms: config.quorum.max_notification_ms,
            handshake_ms: config.network.cnx_timeout_ms,
            adopts_configurations: config.quorum.reconfig_enabled,
        },
        reconfig: config.quorum.reconfig_enabled.then_some(reconfig::config_in as ReadConfig),
    }
}

fn access(config: &Config) -> Access {
    Access {
        skip_acl: config.security.skip_acl,
        digest: config.security.digest_auth,
        digest_algorithm: config.security.digest_algorithm,
        super_digest: config.security.super_digest.clone(),
        x509: config.security.x509_auth,
        x509_super_user: config.security.x509_super_user.clone(),
    }
}

fn max_txn_bytes(config: &Config) -> usize {
    config.limits.jute_max_buffer.saturating_add(config.limits.jute_extra_size)
}

/// The longest transaction that is stored: a leader with a larger `jute.maxbuffer` may have had it
/// committed.
fn storable_bytes(config: &Config) -> usize {
    max_txn_bytes(config).max(STORABLE_BYTES)
}
