//! A request to change the members: the configuration that it asks for, or why there is none
//! (`PrepRequestProcessor`, `OpCode.reconfig`).

use bytestring::ByteString;

use super::request::Write;
use super::{Parsed, Prep, Request};
use crate::config::{self, EnsembleConfig, Member, ServerAddress};
use crate::quorum::Membership;
use crate::session::SessionCheck;
use crate::store::{CONFIG_PATH, Store};
use crate::text;
use crate::types::{HostPort, ServerId, Zxid};
use crate::wire::ErrorCode;
use crate::wire::client::{ReconfigRequest, perms};
use crate::wire::txn::{LoggedTxn, SetDataTxn, Txn};

/// The leader's view of the members, for a reconfiguration.
pub(crate) struct Members<'a> {
    /// `reconfigEnabled`.
    pub enabled: bool,
    /// `multiAddress.enabled`: a member may have several addresses.
    pub multi_address: bool,
    /// `standaloneEnabled`: one voter is no ensemble.
    pub standalone_enabled: bool,
    /// Those that count and those that may come; `None` of a standalone server.
    pub membership: Option<&'a Membership>,
    /// Whether a quorum of these is connected and up to date.
    pub is_synced: &'a dyn Fn(&EnsembleConfig) -> bool,
}

impl Parsed {
    /// Whether it asks to change the members: then it is for [`Prep::reconfigure`].
    pub(crate) fn is_reconfig(&self) -> bool {
        matches!(self.0, Write::Reconfig(_))
    }
}

impl Prep {
    /// Makes the transaction of a [request to change the members](Parsed::is_reconfig). The new
    /// configuration has the transaction's zxid as its version.
    #[allow(clippy::too_many_arguments, reason = "as `prepare`, and the members")]
    pub(crate) fn reconfigure(
        &mut self,
        store: &Store,
        request: &Request,
        parsed: Parsed,
        session: SessionCheck,
        members: &Members<'_>,
        zxid: Zxid,
        wall_ms: i64,
    ) -> LoggedTxn {
        let Write::Reconfig(asked) = parsed.0 else {
            return self.prepare(store, request, parsed, session, zxid, wall_ms);
        };
        self.tree.begin();
        let txn = self.reconfig(store, request, &asked, session, members, (zxid, wall_ms));
        self.finish(store, request.session, request.cxid, zxid, wall_ms, txn)
    }

    fn reconfig(
        &mut self,
        store: &Store,
        request: &Request,
        asked: &ReconfigRequest,
        session: SessionCheck,
        members: &Members<'_>,
        (zxid, wall_ms): (Zxid, i64),
    ) -> Result<Txn, ErrorCode> {
        session.still_here()?;
        if !members.enabled {
            return Err(ErrorCode::ReconfigDisabled);
        }
        session.ok()?;
        let membership = members.membership.ok_or(ErrorCode::Unimplemented)?;
        if membership.proposed().is_some() {
            return Err(ErrorCode::ReconfigInProgress);
        }
        let now = membership.committed();
        if asked.from != -1 && asked.from != now.version {
            return Err(ErrorCode::BadVersion);
        }
        let next = match &asked.members {
            Some(text) => whole(text, members)?,
            None => changed(now, asked, members)?,
        };
        let next = EnsembleConfig { version: zxid.0, ..next };
        let least = if members.standalone_enabled { 2 } else { 1 };
        if next.voters().count() < least {
            return Err(ErrorCode::BadArguments);
        }
        if !(members.is_synced)(&next) {
            return Err(ErrorCode::NewConfigNoQuorum);
        }
        let path = ByteString::from_static(CONFIG_PATH);
        let mut node = self.tree.get(store, &path).ok_or(ErrorCode::NoNode)?;
        self.options.access.check(&node.acl, perms::WRITE, &request.auth)?;
        let data = Some(bytes::Bytes::from(next.to_text()));
        (node.stat.version, node.stat.mtime, node.stat.mzxid) = (-1, wall_ms, zxid);
        node.set_data(data.clone());
        self.tree.put(store, zxid, path.clone(), node);
        Ok(Txn::Reconfig(SetDataTxn { path, data, version: -1 }))
    }
}

/// All members are given.
fn whole(text: &str, asked_of: &Members<'_>) -> Result<EnsembleConfig, ErrorCode> {
    let standalone_enabled = asked_of.standalone_enabled;
    let text = text.replace(',', "\n");
    let next = EnsembleConfig::parse("reconfig", &text).map_err(|_| ErrorCode::BadArguments)?;
    if !next.members.values().all(|member| every_member_takes(member, asked_of)) {
        return Err(ErrorCode::BadArguments);
    }
    let (voters, all) = (next.voters().count(), next.members.len());
    let without_voters = voters == 0 && (!standalone_enabled || all > 0);
    if without_voters || (voters == 1 && standalone_enabled && all > 1) {
        return Err(ErrorCode::MarshallingError);
    }
    Ok(next)
}

/// Some leave, then some join, or are changed.
fn changed(
    now: &EnsembleConfig,
    asked: &ReconfigRequest,
    asked_of: &Members<'_>,
) -> Result<EnsembleConfig, ErrorCode> {
    if !now.groups.is_empty() {
        return Err(ErrorCode::BadArguments);
    }
    let id = |text: &str| text.parse().map(ServerId).map_err(|_| ErrorCode::MarshallingError);
    let mut next = now.clone();
    for leaving in listed(&asked.leaving) {
        next.members.remove(&id(leaving)?);
    }
    for joining in listed(&asked.joining) {
        let (key, line) = config::key_and_value(joining).ok_or(ErrorCode::BadArguments)?;
        let id = id(key.rsplit('.').next().unwrap_or_default())?;
        let member = Member::parse(line).ok_or(ErrorCode::BadArguments)?;
        let is_whole = member.client.is_some() && every_member_takes(&member, asked_of);
        next.members.insert(id, member);
        if !is_whole || next.shared_address().is_some() {
            return Err(ErrorCode::BadArguments);
        }
    }
    Ok(next)
}

/// Whether no member of either implementation refuses this line of another one once it is
/// proposed (`QuorumServer`): a proposal that some cannot read costs the ensemble those.
fn every_member_takes(member: &Member, asked_of: &Members<'_>) -> bool {
    let addresses = &member.addresses;
    let is_own = |at: &HostPort, of: fn(&ServerAddress) -> &HostPort| {
        addresses.iter().filter(|address| of(address) == at).count() == 1
    };
    (addresses.len() == 1 || asked_of.multi_address)
        && addresses.iter().all(|at| {
            at.quorum.port != at.election.port
                // Addresses are sets there, and are written in pairs.
                && is_own(&at.quorum, |of| &of.quorum)
                && is_own(&at.election, |of| &of.election)
        })
}

fn listed(text: &Option<ByteString>) -> impl Iterator<Item = &str> {
    text.iter().flat_map(|text| text::list(text))
}
