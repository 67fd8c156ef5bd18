//! Strangers: connections on which bytes are sent that no client and no server would send.

use bytes::{Bytes, BytesMut};
use zabkeeper_core::event::Port;
use zabkeeper_core::types::ConnId;

use super::World;
use super::network::{Arrival, Host, Place};

/// A dial ends in vain after this, ms.
const DIAL_LIMIT_MS: u64 = 3000;

/// One connection to a server.
#[derive(Debug)]
pub(super) struct Stranger {
    place: Place,
    heard: BytesMut,
}

impl World {
    /// Somebody connects to a port of a server. His index is returned.
    pub fn add_stranger(&mut self, server: usize, port: Port) -> usize {
        let stranger = self.strangers.len();
        let place = self.network.dial(
            self.now,
            &mut self.agenda,
            (Host::Stranger(stranger), ConnId::dialled(1)),
            (Host::Server(server), port),
            DIAL_LIMIT_MS,
        );
        self.strangers.push(Stranger { place, heard: BytesMut::new() });
        stranger
    }

    /// He sends these bytes.
    pub fn stranger_sends(&mut self, stranger: usize, bytes: Bytes) {
        if let Some(known) = self.strangers.get(stranger) {
            let place = known.place;
            self.tell_sent(place, &bytes);
            let _ = self.network.send(self.now, &mut self.agenda, place, bytes);
        }
    }

    /// He hangs up.
    pub fn stranger_closes(&mut self, stranger: usize) {
        if let Some(known) = self.strangers.get(stranger) {
            self.network.close(self.now, &mut self.agenda, known.place);
        }
    }

    /// What he was sent since this was asked last.
    pub fn stranger_heard(&mut self, stranger: usize) -> Bytes {
        let known = self.strangers.get_mut(stranger);
        known.map(|known| known.heard.split().freeze()).unwrap_or_default()
    }

    pub(super) fn stranger_reached(&mut self, stranger: usize, arrival: Arrival) {
        match arrival {
            Arrival::Bytes(bytes) => {
                if let Some(known) = self.strangers.get_mut(stranger) {
                    known.heard.extend_from_slice(&bytes);
                }
            }
            Arrival::Closed => {
                self.tell_of(Host::Stranger(stranger), || String::from("has no connection"));
            }
            Arrival::Opened { .. } | Arrival::Writable | Arrival::Dialled { .. } => {}
        }
    }
}
