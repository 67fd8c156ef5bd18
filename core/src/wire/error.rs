//! The error codes of the client protocol (`KeeperException.Code`).

use super::code::codes;

codes! {
    /// An error code as the client sees it. Client-side codes are absent.
    ErrorCode {
        /// No error.
        Ok = 0,
        /// A server-side failure.
        SystemError = -1,
        /// "Not tried because an earlier operation of the multi failed".
        RuntimeInconsistency = -2,
        /// Data inconsistency.
        DataInconsistency = -3,
        /// The request's body could not be read.
        MarshallingError = -5,
        /// The operation is not there.
        Unimplemented = -6,
        /// Bad arguments: flags, ttl, path.
        BadArguments = -8,
        /// Reconfig: no quorum of the new configuration is in sync.
        NewConfigNoQuorum = -13,
        /// Reconfig: another one is under way.
        ReconfigInProgress = -14,
        /// No such session.
        UnknownSession = -12,
        /// The node does not exist.
        NoNode = -101,
        /// The ACL refuses.
        NoAuth = -102,
        /// The version does not match.
        BadVersion = -103,
        /// An ephemeral cannot have children.
        NoChildrenForEphemerals = -108,
        /// The node is there already.
        NodeExists = -110,
        /// The node has children.
        NotEmpty = -111,
        /// The session has expired.
        SessionExpired = -112,
        /// The ACL is not valid.
        InvalidAcl = -114,
        /// Authentication failed.
        AuthFailed = -115,
        /// The session has moved to another server.
        SessionMoved = -118,
        /// Not possible on a read-only server.
        NotReadOnly = -119,
        /// An ephemeral on a local session.
        EphemeralOnLocalSession = -120,
        /// No such watcher.
        NoWatcher = -121,
        /// Reconfig is off.
        ReconfigDisabled = -123,
        /// The session must authenticate with SASL first.
        SessionClosedRequireSaslAuth = -124,
        /// A quota would be exceeded.
        QuotaExceeded = -125,
        /// Throttled.
        ThrottledOp = -127,
    }
}
