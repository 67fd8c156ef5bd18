//! Metrics as plain counters, under the names that ZooKeeper's monitors know
//! (`ServerMetrics`, `AvgMinMaxCounter`, `AvgMinMaxPercentileCounter`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::EventType;

/// Counts something since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter(u64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&mut self, n: u64) {
        self.0 = self.0.saturating_add(n);
    }
    /// The count.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Average, least and most of some figure since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    sum: u64,
    count: u64,
    min: u64,
    max: u64,
}

impl Summary {
    /// Takes one value.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }
    /// Sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }
    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }
    /// The least value, 0 if there is none.
    pub fn min(&self) -> u64 {
        self.min
    }
    /// The greatest value, 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }
    /// The average in ZooKeeper's notation: at most four decimals, at least one.
    pub fn average(&self) -> String {
        if self.count == 0 {
            return String::from("0.0");
        }
        double_text(ten_thousandths(self.sum as f64 / self.count as f64))
    }
    /// The average without its fraction, as `cons` shows it.
    pub fn whole_average(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}

/// A [`Summary`] with percentiles. Values below 64 are kept exactly, larger ones to within
/// three percent, in at most 1,920 buckets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Distribution {
    summary: Summary,
    buckets: Vec<u64>,
}

impl Distribution {
    /// Takes one value.
    pub fn add(&mut self, value: u64) {
        self.summary.add(value);
        let bucket = bucket_of(value);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
    }
    /// Average, least and most.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
    /// The value below which this many of a thousand lie, 0 if there is none; between two
    /// neighbours it is interpolated.
    pub fn per_mille(&self, mille: u64) -> u64 {
        let count = self.summary.count;
        // The place is `mille / 1000 * (count + 1)`, counted from 1.
        let place = u128::from(mille) * (u128::from(count) + 1);
        let (whole, thousandths) = ((place / 1000) as u64, (place % 1000) as u64);
        if count == 0 || whole < 1 {
            return self.summary.min;
        }
        if whole >= count {
            return self.summary.max;
        }
        let (lower, upper) = (self.at(whole), self.at(whole + 1));
        let step = u128::from(upper - lower) * u128::from(thousandths);
        lower + ((step + 500) / 1000) as u64
    }

    /// The `nth` smallest value, from 1.
    fn at(&self, nth: u64) -> u64 {
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= nth {
                return value_of(bucket).clamp(self.summary.min, self.summary.max);
            }
        }
        self.summary.max
    }
}

/// Last, least and greatest size of some buffer; -1 until there is one (`BufferStats`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferSizes {
    /// The newest.
    pub last: i64,
    /// The least.
    pub min: i64,
    /// The greatest.
    pub max: i64,
}

impl Default for BufferSizes {
    fn default() -> Self {
        BufferSizes { last: -1, min: -1, max: -1 }
    }
}

impl BufferSizes {
    /// Takes the next size, in bytes.
    pub fn add(&mut self, size: usize) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.last = size;
        self.min = if self.min < 0 { size } else { self.min.min(size) };
        self.max = self.max.max(size);
    }
}

/// The figures of the client side that `srvr` and `mntr` lead with (`ServerStats`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerStats {
    /// Of requests, from their arrival to the reply, in milliseconds.
    pub latency: Summary,
    /// Requests, handshakes and four-letter words taken in.
    pub packets_received: Counter,
    /// Replies and watch events sent.
    pub packets_sent: Counter,
    /// Of replies.
    pub response_sizes: BufferSizes,
    /// Failed authentications.
    pub auth_failed: Counter,
    /// Connections that were closed because there were too many, or too many came in a while.
    pub connections_rejected: Counter,
    /// How much the bucket of new connections was short of, at each that came.
    pub token_deficit: Summary,
    /// Handshakes that were looked into.
    pub connection_requests: Counter,
    /// Those of them that asked for a session of old.
    pub reattachments: Counter,
    /// Connections that their clients ended.
    pub connections_dropped: Counter,
    /// Connections that were closed because they did not ask for a session.
    pub sessionless_expired: Counter,
    /// Of handshakes and requests, with their lengths.
    pub bytes_received: Counter,
    /// Of replies.
    pub response_bytes: Counter,
    /// As `latency`, of what was answered without a transaction.
    pub read_latency: Distribution,
    /// As `latency`, of what was answered by one.
    pub update_latency: Distribution,
    /// How long requests had to wait for those of others, in milliseconds.
    pub throttle_queue: Distribution,
    /// Requests that were refused because they had to wait for too long.
    pub throttled_ops: Counter,
    /// How often a connection's requests had to wait for those of others.
    pub throttle_waits: Counter,
    /// Large requests that were refused with their connection.
    pub large_requests_rejected: Counter,
    /// Bytes of watch events sent.
    pub watch_bytes: Counter,
    /// How many were told of an event, by [`EventType`].
    pub(crate) watchers: [Summary; 4],
}

impl ServerStats {
    /// Of the events of one kind, how many were told of each.
    pub fn watchers(&self, kind: EventType) -> &Summary {
        &self.watchers[kind as usize - 1]
    }
    /// An event has so many watchers.
    pub(crate) fn watch_fired(&mut self, kind: EventType, watchers: usize) {
        self.watchers[kind as usize - 1].add(watchers as u64);
    }
    /// A reply of this length is sent.
    pub(crate) fn reply_sent(&mut self, bytes: usize) {
        self.packets_sent.add(1);
        self.response_sizes.add(bytes);
        self.response_bytes.add(bytes as u64);
    }
    /// A request was answered after so many milliseconds.
    pub(crate) fn answered(&mut self, latency_ms: u64, is_update: bool) {
        self.latency.add(latency_ms);
        if is_update {
            self.update_latency.add(latency_ms);
        } else {
            self.read_latency.add(latency_ms);
        }
    }
    /// A watch event of this length is sent.
    pub(crate) fn watch_sent(&mut self, bytes: usize) {
        self.packets_sent.add(1);
        self.watch_bytes.add(bytes as u64);
    }
}

/// One figure as a monitor reads it.
#[derive(Clone, Copy, Debug)]
pub enum Metric<'a> {
    /// A count.
    Counter(Counter),
    /// Average, least and most.
    Summary(&'a Summary),
    /// The same with percentiles.
    Distribution(&'a Distribution),
}

macro_rules! metrics {
    (
        counters { $($counter:ident,)* }
        summaries { $($summary:ident,)* }
        distributions { $($distribution:ident,)* }
    ) => {
        /// All figures that a ZooKeeper 3.9 server keeps, by its names. What has no meaning
        /// here (pauses of a JVM, thread pools) stays 0, because monitors look up names.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct Metrics {
            $(#[doc = concat!("`zk_", stringify!($counter), "`.")] pub $counter: Counter,)*
            $(#[doc = concat!("`zk_*_", stringify!($summary), "`.")] pub $summary: Summary,)*
            $(#[doc = concat!("`zk_*_", stringify!($distribution), "`.")]
            pub $distribution: Distribution,)*
        }

        impl Metrics {
            /// Shows every figure with its name, in the order of `mntr`.
            pub fn for_each(&self, mut visit: impl FnMut(&'static str, Metric<'_>)) {
                $(visit(stringify!($counter), Metric::Counter(self.$counter));)*
                $(visit(stringify!($summary), Metric::Summary(&self.$summary));)*
                $(visit(stringify!($distribution), Metric::Distribution(&self.$distribution));)*
            }

            /// For the golden test: sets the figures of one name.
            #[cfg(test)]
            pub(super) fn fill(&mut self, name: &str, values: &[u64]) {
                let mut summary = Summary::default();
                values.iter().for_each(|v| summary.add(*v));
                $(if name == stringify!($counter) { self.$counter = Counter(values[0]); })*
                $(if name == stringify!($summary) { self.$summary = summary; })*
                $(if name == stringify!($distribution) {
                    values.iter().for_each(|v| self.$distribution.add(*v));
                })*
            }
        }
    };
}

#[rustfmt::skip]
metrics! {
    counters {
        stale_requests_dropped, throttled_ops, insecure_admin_count, connection_rejected,
        sessionless_connections_expired, dead_watchers_queued, stale_requests,
        connection_drop_count, response_packet_cache_hits, bytes_received_count,
        add_dead_watcher_stall_time, request_throttle_wait_count,
        requests_not_forwarded_to_commit_processor, response_packet_cache_misses,
        prep_processor_request_queued, stale_replies, response_bytes, ensemble_auth_fail,
        diff_count, connection_revalidate_count, quit_leading_due_to_disloyal_voter,
        unrecoverable_error_count, unsuccessful_handshake, commit_count,
        outstanding_changes_queued, request_commit_queued, ensemble_auth_skip,
        skip_learner_request_to_next_processor_count, proposal_count,
        large_requests_rejected, outstanding_changes_removed, restore_error_count,
        cnxn_closed_without_zk_server_running, looking_count, snapshot_rate_limited_count,
        learner_proposal_received_count, digest_mismatches_count, dead_watchers_cleared,
        ensemble_auth_success, learner_commit_received_count, snapshot_error_count,
        connection_request_count, response_packet_get_children_cache_misses, snap_count,
        stale_sessions_expired, restore_rate_limited_count,
        response_packet_get_children_cache_hits, sync_processor_request_queued,
        tls_handshake_exceeded, revalidate_count,
    }
    summaries {
        socket_closing_time, proposal_process_time, leader_unavailable_time,
        node_created_watch_count, session_queues_drained, write_commit_proc_req_queued,
        connection_token_deficit, read_commit_proc_req_queued, node_deleted_watch_count,
        startup_txns_load_time, sync_processor_queue_size, follower_sync_time,
        prep_processor_queue_size, fsynctime, inflight_snap_count,
        reads_issued_from_session_queue, restore_time, learner_request_processor_queue_size,
        snapshottime, unavailable_time, startup_txns_loaded,
        reads_after_write_in_session_queue, requests_in_session_queue,
        write_commit_proc_issued, prep_process_time, pending_session_queue_size,
        time_waiting_empty_pool_in_commit_processor_read_ms, commit_process_time,
        dbinittime, inflight_diff_count, netty_queued_buffer_capacity, election_time,
        commit_commit_proc_req_queued, sync_processor_batch_size, node_children_watch_count,
        write_batch_time_in_commit_processor, read_commit_proc_issued,
        concurrent_request_processing_in_commit_processor, observer_sync_time,
        node_changed_watch_count, sync_process_time, startup_snap_load_time,
    }
    distributions {
        prep_processor_queue_time_ms, jvm_pause_time_ms, close_session_prep_time,
        read_commitproc_time_ms, updatelatency, local_write_committed_time_ms,
        request_throttle_queue_time_ms, readlatency, quorum_ack_latency,
        om_commit_process_time_ms, read_final_proc_time_ms, commit_propagation_latency,
        dead_watchers_cleaner_latency, write_final_proc_time_ms,
        proposal_ack_creation_latency, proposal_latency, om_proposal_process_time_ms,
        sync_processor_queue_and_flush_time_ms, propagation_latency,
        server_write_committed_time_ms, sync_processor_queue_time_ms,
        sync_processor_queue_flush_time_ms, write_commitproc_time_ms,
    }
}

const EXACT: u64 = 64;

fn bucket_of(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let octave = u64::from(value.ilog2());
    let part = (value >> (octave - 5)) & 31;
    (EXACT + (octave - 6) * 32 + part) as usize
}

fn value_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let (octave, part) = ((bucket - EXACT) / 32 + 6, (bucket - EXACT) % 32);
    (32 + part) << (octave - 5)
}

/// The exact value of a double, rounded half up to ten thousandths.
fn ten_thousandths(value: f64) -> u128 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    if exponent == 0 {
        return 0;
    }
    let mantissa = u128::from((bits & ((1 << 52) - 1)) | (1 << 52)) * 10_000;
    let shift = exponent - 1075;
    if shift >= 0 {
        // Averages of u64 stay below 2^64: at most 11 more bits.
        return mantissa << shift.min(11);
    }
    match u32::try_from(-shift) {
        Ok(down @ 1..=126) => (mantissa + (1 << (down - 1))) >> down,
        _ => 0,
    }
}

/// As Java prints a double of so many ten thousandths: `0.0`, `4.0544`, `2.0E-4`, `1.5E7`.
fn double_text(ten_thousandths: u128) -> String {
    let digits = format!("{ten_thousandths}");
    if (1..10).contains(&ten_thousandths) {
        return format!("{digits}.0E-4");
    }
    let fraction = |digits: &str| match digits.trim_end_matches('0') {
        "" => String::from("0"),
        some => String::from(some),
    };
    if ten_thousandths >= 10_000_000 * 10_000 {
        let exponent = digits.len() - 5;
        return format!("{}.{}E{exponent}", &digits[..1], fraction(&digits[1..]));
    }
    let rest = format!("{:04}", ten_thousandths % 10_000);
    format!("{}.{}", ten_thousandths / 10_000, fraction(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(sum: u64, count: u64) -> Summary {
        Summary { sum, count, min: 0, max: 0 }
    }

    #[test]
    fn averages_are_written_as_java_writes_doubles() {
        for (sum, count, text) in [
            (0, 0, "0.0"),
            (0, 9, "0.0"),
            (596, 147, "4.0544"),
            (36, 147, "0.2449"),
            (90, 3, "30.0"),
            (19, 2, "9.5"),
            (1, 3, "0.3333"),
            (2, 3, "0.6667"),
            (1, 1000, "0.001"),
            (1, 5000, "2.0E-4"),
            (1, 100_000, "0.0"),
            (9_999_999, 1, "9999999.0"),
            (10_000_000, 1, "1.0E7"),
            (123_456_789, 8, "1.5432098625E7"),
            // A tie in decimal notation that the double misses by a hair.
            (3, 20_000, "1.0E-4"),
        ] {
            assert_eq!(summary(sum, count).average(), text, "{sum}/{count}");
        }
    }

    #[test]
    fn percentiles_interpolate_between_neighbours() {
        let mut d = Distribution::default();
        assert_eq!(d.per_mille(500), 0);
        for value in 1..=100 {
            d.add(value);
        }
        assert_eq!((d.per_mille(500), d.per_mille(10), d.per_mille(999)), (51, 1, 100));
        let mut two = Distribution::default();
        two.add(16);
        two.add(24);
        assert_eq!([500, 950, 990, 999].map(|m| two.per_mille(m)), [20, 24, 24, 24]);
    }

    #[test]
    fn every_value_has_a_bucket_within_three_percent() {
        let mut value = 1u64;
        while value < u64::MAX / 3 {
            for v in [value, value + 1, value * 2 - 1] {
                let back = value_of(bucket_of(v));
                assert!(back <= v && (v - back) * 32 <= v, "{v} becomes {back}");
            }
            value = value * 3 / 2 + 1;
        }
        assert!(bucket_of(u64::MAX) < 1920);
    }

    #[test]
    fn buffer_sizes_begin_at_minus_one() {
        let mut sizes = BufferSizes::default();
        assert_eq!((sizes.last, sizes.min, sizes.max), (-1, -1, -1));
        sizes.add(88);
        sizes.add(48);
        assert_eq!((sizes.last, sizes.min, sizes.max), (48, 48, 88));
    }
}
