//! An event as bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use bytes::{BufMut, BytesMut};

use super::Damage;
use super::numbers::{bytes, number, put_bytes, put_number, put_signed, signed, text};
use crate::event::{
    DiskEvent, DiskFault, Event, HostStats, LogBatch, LogEnd, NetEvent, Port, Progress, Recovered,
};
use crate::store::{Store, StoreOptions};
use crate::types::{ConnId, ReadId, Ticket, Zxid};
use crate::wire::entries::Entry;
use crate::wire::jute::{Malformed, Reader};

const TICK: u8 = 1;
const OPENED: u8 = 2;
const RECEIVED: u8 = 3;
const WRITABLE: u8 = 4;
const CLOSED: u8 = 5;
const PERSISTED: u8 = 6;
const LOG_READ: u8 = 7;
const SNAPSHOT_READY: u8 = 8;
const RECOVERING: u8 = 9;
const RECOVERED: u8 = 10;
const DISK_FAILED: u8 = 11;
const SURVEYED: u8 = 12;
const IDENTIFIED: u8 = 13;

/// The byte that an event begins with.
pub(super) fn tag(event: &Event<Store>) -> u8 {
    match event {
        Event::Tick => TICK,
        Event::Net(NetEvent::Opened { .. }) => OPENED,
        Event::Net(NetEvent::Identified { .. }) => IDENTIFIED,
        Event::Net(NetEvent::Received { .. }) => RECEIVED,
        Event::Net(NetEvent::Writable { .. }) => WRITABLE,
        Event::Net(NetEvent::Closed { .. }) => CLOSED,
        Event::Disk(DiskEvent::Persisted { .. }) => PERSISTED,
        Event::Disk(DiskEvent::LogRead(_)) => LOG_READ,
        Event::Disk(DiskEvent::SnapshotReady) => SNAPSHOT_READY,
        Event::Disk(DiskEvent::Recovering(_)) => RECOVERING,
        Event::Disk(DiskEvent::Recovered(_)) => RECOVERED,
        Event::Disk(DiskEvent::Failed(_)) => DISK_FAILED,
        Event::Host(_) => SURVEYED,
    }
}

/// Appends what follows the tag.
pub(super) fn put_event(out: &mut BytesMut, event: &Event<Store>) {
    match event {
        Event::Tick | Event::Disk(DiskEvent::SnapshotReady) => {}
        Event::Net(NetEvent::Opened { conn, port, peer }) => {
            put_conn(out, *conn);
            out.put_u8(match port {
                Port::Client => 0,
                Port::Election => 1,
                Port::Quorum => 2,
            });
            put_address(out, peer);
        }
        Event::Net(NetEvent::Identified { conn, subject }) => {
            put_conn(out, *conn);
            put_bytes(out, subject.as_bytes());
        }
        Event::Net(NetEvent::Received { conn, bytes }) => {
            put_conn(out, *conn);
            put_bytes(out, bytes);
        }
        Event::Net(NetEvent::Writable { conn }) | Event::Net(NetEvent::Closed { conn }) => {
            put_conn(out, *conn)
        }
        Event::Disk(DiskEvent::Persisted { upto }) => put_number(out, upto.0),
        Event::Disk(DiskEvent::LogRead(LogBatch { read, entries, end })) => {
            put_number(out, read.0);
            put_entries(out, entries);
            out.put_u8(match end {
                LogEnd::More => 0,
                LogEnd::Complete => 1,
                LogEnd::Unusable => 2,
            });
        }
        Event::Disk(DiskEvent::Recovering(progress)) => {
            put_number(out, progress.bytes_done);
            put_number(out, progress.bytes_total);
            put_number(out, progress.entries);
        }
        Event::Disk(DiskEvent::Recovered(recovered)) => {
            put_number(out, recovered.ticket.0);
            recovered.state.encode_image(out);
            put_signed(out, recovered.last_zxid.0);
            put_entries(out, &recovered.tail);
            put_signed(out, recovered.current_epoch);
            put_signed(out, recovered.accepted_epoch);
            put_number(out, recovered.snapshot_bytes);
        }
        Event::Disk(DiskEvent::Failed(fault)) => {
            put_bytes(out, fault.what.as_bytes());
            put_signed(out, fault.exit_code.into());
        }
        Event::Host(host) => {
            put_number(out, host.data_dir_bytes);
            put_number(out, host.data_log_dir_bytes);
            // 0 stands for what cannot be told.
            put_number(out, host.open_files.map_or(0, |n| n.saturating_add(1)));
            put_number(out, host.max_files.map_or(0, |n| n.saturating_add(1)));
            put_number(out, host.log_lines_dropped);
            put_number(out, host.environment.len() as u64);
            for (name, value) in &host.environment {
                put_bytes(out, name.as_bytes());
                put_bytes(out, value.as_bytes());
            }
        }
    }
}

/// Reads what follows a tag.
pub(super) fn event(
    r: &mut Reader<'_>,
    tag: u8,
    options: StoreOptions,
) -> Result<Event<Store>, Damage> {
    Ok(match tag {
        TICK => Event::Tick,
        OPENED => {
            Event::Net(NetEvent::Opened { conn: conn(r)?, port: port(r)?, peer: address(r)? })
        }
        IDENTIFIED => Event::Net(NetEvent::Identified { conn: conn(r)?, subject: text(r)?.into() }),
        RECEIVED => Event::Net(NetEvent::Received { conn: conn(r)?, bytes: bytes(r)? }),
        WRITABLE => Event::Net(NetEvent::Writable { conn: conn(r)? }),
        CLOSED => Event::Net(NetEvent::Closed { conn: conn(r)? }),
        PERSISTED => Event::Disk(DiskEvent::Persisted { upto: Ticket(number(r)?) }),
        LOG_READ => {
            let (read, entries) = (ReadId(number(r)?), entries(r)?);
            let end = match r.byte()? {
                0 => LogEnd::More,
                1 => LogEnd::Complete,
                2 => LogEnd::Unusable,
                _ => return Err(Malformed::Value("the end of a log read").into()),
            };
            Event::Disk(DiskEvent::LogRead(LogBatch { read, entries, end }))
        }
        SNAPSHOT_READY => Event::Disk(DiskEvent::SnapshotReady),
        RECOVERING => Event::Disk(DiskEvent::Recovering(Progress {
            bytes_done: number(r)?,
            bytes_total: number(r)?,
            entries: number(r)?,
        })),
        RECOVERED => Event::Disk(DiskEvent::Recovered(Box::new(Recovered {
            ticket: Ticket(number(r)?),
            state: Store::from_image(r, options)?,
            last_zxid: Zxid(signed(r)?),
            tail: entries(r)?,
            current_epoch: signed(r)?,
            accepted_epoch: signed(r)?,
            snapshot_bytes: number(r)?,
        }))),
        DISK_FAILED => {
            let (what, code) = (text(r)?, signed(r)?);
            let exit_code =
                i32::try_from(code).map_err(|_| Damage::from(Malformed::Value("an exit code")))?;
            Event::Disk(DiskEvent::Failed(DiskFault { what, exit_code }))
        }
        SURVEYED => {
            let (data_dir_bytes, data_log_dir_bytes) = (number(r)?, number(r)?);
            let (open_files, max_files) = (number(r)?.checked_sub(1), number(r)?.checked_sub(1));
            let log_lines_dropped = number(r)?;
            let mut environment = Vec::new();
            for _ in 0..number(r)? {
                environment.push((text(r)?, text(r)?));
            }
            Event::Host(Box::new(HostStats {
                data_dir_bytes,
                data_log_dir_bytes,
                open_files,
                max_files,
                log_lines_dropped,
                environment,
            }))
        }
        other => return Err(Damage::Tag(other)),
    })
}

/// The top bit says who numbered the connection: it goes to the other end, so that both kinds
/// are short.
fn put_conn(out: &mut BytesMut, conn: ConnId) {
    put_number(out, conn.0.rotate_left(1));
}

fn conn(r: &mut Reader<'_>) -> Result<ConnId, Malformed> {
    Ok(ConnId(number(r)?.rotate_right(1)))
}

fn port(r: &mut Reader<'_>) -> Result<Port, Malformed> {
    match r.byte()? {
        0 => Ok(Port::Client),
        1 => Ok(Port::Election),
        2 => Ok(Port::Quorum),
        _ => Err(Malformed::Value("a kind of port")),
    }
}

fn put_address(out: &mut BytesMut, address: &SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            out.put_u8(4);
            out.put_slice(&v4.ip().octets());
            out.put_u16(v4.port());
        }
        SocketAddr::V6(v6) => {
            out.put_u8(6);
            out.put_slice(&v6.ip().octets());
            out.put_u16(v6.port());
            put_number(out, v6.flowinfo().into());
            put_number(out, v6.scope_id().into());
        }
    }
}

fn address(r: &mut Reader<'_>) -> Result<SocketAddr, Malformed> {
    let number32 =
        |r: &mut Reader<'_>| u32::try_from(number(r)?).map_err(|_| Malformed::Value("an address"));
    match r.byte()? {
        4 => {
            let ip = Ipv4Addr::from(octets::<4>(r)?);
            Ok(SocketAddrV4::new(ip, u16::from_be_bytes(octets(r)?)).into())
        }
        6 => {
            let ip = Ipv6Addr::from(octets::<16>(r)?);
            let port = u16::from_be_bytes(octets(r)?);
            Ok(SocketAddrV6::new(ip, port, number32(r)?, number32(r)?).into())
        }
        _ => Err(Malformed::Value("an address")),
    }
}

fn octets<const N: usize>(r: &mut Reader<'_>) -> Result<[u8; N], Malformed> {
    let mut all = [0; N];
    for byte in &mut all {
        *byte = r.byte()?;
    }
    Ok(all)
}

fn put_entries(out: &mut BytesMut, entries: &[Entry]) {
    put_number(out, entries.len() as u64);
    for entry in entries {
        put_signed(out, entry.zxid.0);
        put_bytes(out, &entry.body);
    }
}

fn entries(r: &mut Reader<'_>) -> Result<Vec<Entry>, Malformed> {
    let count = number(r)?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Entry { zxid: Zxid(signed(r)?), body: bytes(r)? });
    }
    Ok(all)
}
