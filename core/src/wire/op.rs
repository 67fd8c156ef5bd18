//! Operation codes and watch event types (`ZooDefs.OpCode`, `Watcher.Event.EventType`).

use super::code::codes;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $short:literal;)*) => {
        codes! {
            /// An operation of the client protocol, or the type of a transaction.
            OpCode { $($(#[$doc])* $name = $code,)* }
        }

        impl OpCode {
            /// The abbreviation that `cons` shows (`Request.op2String`).
            pub fn short(self) -> &'static str {
                match self { $(OpCode::$name => $short,)* }
            }
        }
    };
}

ops! {
    /// create
    Create = 1, "CREA";
    /// delete
    Delete = 2, "DELE";
    /// exists
    Exists = 3, "EXIS";
    /// getData
    GetData = 4, "GETD";
    /// setData
    SetData = 5, "SETD";
    /// getACL
    GetAcl = 6, "GETA";
    /// setACL
    SetAcl = 7, "SETA";
    /// getChildren
    GetChildren = 8, "GETC";
    /// sync
    Sync = 9, "SYNC";
    /// ping
    Ping = 11, "PING";
    /// getChildren2
    GetChildren2 = 12, "GETC";
    /// check, only inside multi
    Check = 13, "CHEC";
    /// multi
    Multi = 14, "MULT";
    /// create2
    Create2 = 15, "CREA";
    /// reconfig
    Reconfig = 16, "RECO";
    /// checkWatches
    CheckWatches = 17, "CHKW";
    /// removeWatches
    RemoveWatches = 18, "REMW";
    /// createContainer
    CreateContainer = 19, "CREA";
    /// deleteContainer
    DeleteContainer = 20, "DELE";
    /// createTTL
    CreateTtl = 21, "CREA";
    /// multiRead
    MultiRead = 22, "MLTR";
    /// auth
    Auth = 100, "NA";
    /// setWatches
    SetWatches = 101, "SETW";
    /// sasl
    Sasl = 102, "NA";
    /// getEphemerals
    GetEphemerals = 103, "GETE";
    /// getAllChildrenNumber
    GetAllChildrenNumber = 104, "GETACN";
    /// setWatches2
    SetWatches2 = 105, "STW2";
    /// addWatch
    AddWatch = 106, "ADDW";
    /// whoAmI
    WhoAmI = 107, "HOMI";
    /// createSession
    CreateSession = -10, "SESS";
    /// closeSession
    CloseSession = -11, "CLOS";
    /// error: only a transaction type and a multi result type
    Error = -1, "NA";
}

codes! {
    /// The change that a watch event reports.
    EventType {
        /// The node was created.
        NodeCreated = 1,
        /// The node was deleted.
        NodeDeleted = 2,
        /// Its data changed.
        NodeDataChanged = 3,
        /// A child was created or deleted.
        NodeChildrenChanged = 4,
    }
}
