//! What each room needs of the configuration.

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
        preallocate_bytes: config.pre_alloc_size_kb << 10,
        log_size_limit_bytes: u64::try_from(config.txn_log_size_limit_kb)
            .ok()
            .filter(|kb| *kb > 0)
            .map(|kb| kb << 10),
        force_sync: config.force_sync,
        max_record_bytes: storable_bytes(config),
        commit_log_count: config.commit_log_count,
        trust_empty: config.trust_empty_snapshot,
        autocreate: config.db_autocreate,
        make_dirs: config.datadir_autocreate,
        compression: Compression::from_name(&config.snapshot_compression),
        slow_sync_ms: config.slow_sync_ms,
        serialize_last_zxid: config.serialize_last_zxid,
        snap_retain_count: config.purge_retain_count,
        autopurge: config.purge_interval_hours > 0,
        ..DiskOptions::new(config.data_dir.as_str(), config.data_log_dir.as_str())
    }
}

/// Options of the znode store for this configuration; who has clients adds a seed that they do not know.
pub fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        extended_types: config.extended_types,
        emulate_353: config.emulate_353,
        digest: config.digest_enabled,
        max_field_bytes: storable_bytes(config),
        hash_seed: 0,
    }
}

pub(super) fn prep_options(config: &Config) -> PrepOptions {
    PrepOptions {
        extended_types: config.extended_types,
        enforce_quota: config.enforce_quota,
        protect_system_nodes: config.protect_system_nodes,
        access: access(config),
        max_txn_bytes: max_txn_bytes(config),
    }
}

pub(super) fn client_port_options(config: &Config) -> ClientPortOptions {
    ClientPortOptions {
        server: if config.ensemble.is_some() { config.my_id.0 } else { 1 },
        min_session_timeout_ms: config.min_session_timeout_ms,
        max_session_timeout_ms: config.max_session_timeout_ms,
        max_client_connections: config.max_client_connections,
        max_connections: config.max_connections,
        jute_max_buffer: config.jute_max_buffer,
        sessionless_timeout_ms: config.sessionless_timeout_ms,
        local_sessions: config.local_sessions && config.ensemble.is_some(),
        connection_throttle: config.connection_throttle.clone(),
        large_request_bytes: config.large_request_bytes.unwrap_or(usize::MAX),
        large_requests_max_bytes: config.large_requests_max_bytes,
        enforced_schemes: config.enforced_schemes.iter().map(|name| name.as_str().into()).collect(),
        access: access(config),
        outstanding_limit: config.global_outstanding_limit.max(1),
        turn_budget: config.turn_budget,
        requests: RequestThrottle {
            max_requests: config.max_requests,
            max_wait_ms: config.throttled_op_wait_ms,
        },
    }
}

pub(super) fn ensemble_options(config: &Config) -> EnsembleOptions {
    EnsembleOptions {
        tick_time_ms: config.tick_time_ms,
        init_limit: config.init_limit,
        sync_limit: config.sync_limit,
        commit_log_count: config.commit_log_count,
        snapshot_size_factor: config.snapshot_size_factor,
        force_snapshot_sync: false,
        sync_needs_quorum: config.sync_needs_quorum,
        observer_master_port: config.observer_master_port,
        max_payload: max_txn_bytes(config).saturating_add(PACKET_HEADROOM),
        max_from_members: storable_bytes(config),
        jute_max_buffer: config.jute_max_buffer,
        election: ElectionOptions {
            finalize_wait_ms: config.finalize_wait_ms,
            min_notification_ms: config.min_notification_ms,
            max_notification_ms: config.max_notification_ms,
            handshake_ms: config.cnx_timeout_ms,
            adopts_configurations: config.reconfig_enabled,
        },
        reconfig: config.reconfig_enabled.then_some(reconfig::config_in as ReadConfig),
    }
}

fn access(config: &Config) -> Access {
    Access {
        skip_acl: config.skip_acl,
        digest: config.digest_auth,
        digest_algorithm: config.digest_algorithm,
        super_digest: config.super_digest.clone(),
        x509: config.x509_auth,
        x509_super_user: config.x509_super_user.clone(),
    }
}

fn max_txn_bytes(config: &Config) -> usize {
    config.jute_max_buffer.saturating_add(config.jute_extra_size)
}

/// What is stored whoever asks: a leader with a larger `jute.maxbuffer` has had it agreed to.
fn storable_bytes(config: &Config) -> usize {
    max_txn_bytes(config).max(STORABLE_BYTES)
}
