//! Taps hear the same however the bytes of a connection are cut.

use bytes::{BufMut, Bytes, BytesMut};
use zabkeeper_core::event::Port;
use zabkeeper_fuzz::trace::Tap;

const ELECTION: &str = include_str!("../../core/testdata/election/packets.txt");
const QUORUM: &str = include_str!("../../core/testdata/quorum/packets.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len() / 2).map(|i| digit(2 * i)).collect()
}

fn heard(port: Port, stream: &[u8], piece: usize) -> Vec<String> {
    let mut tap = Tap::new(port);
    let told = stream.chunks(piece).map(|cut| tap.push(0, &Bytes::copy_from_slice(cut)));
    told.flatten().map(|message| message.text).collect()
}

#[test]
fn a_hello_and_notifications_of_real_servers_are_heard_in_any_pieces() {
    let mut stream = BytesMut::new();
    let hello = ELECTION.lines().find_map(|line| line.strip_prefix("hello ")).expect("a hello");
    stream.put_slice(&bytes(hello));
    for note in ELECTION.lines().filter_map(|line| line.strip_prefix("note ")).take(8) {
        let note = bytes(note);
        stream.put_i32(note.len() as i32);
        stream.put_slice(&note);
    }
    let whole = heard(Port::Election, &stream, stream.len());
    assert_eq!(whole.len(), 9);
    assert_eq!(whole[0], "HELLO from 1");
    assert_eq!(whole[1], "NOTIFICATION LOOKING, for 1 with 0x0 of epoch 0, round 1");
    for piece in [1, 3, 19, 20, 21, 100] {
        assert_eq!(heard(Port::Election, &stream, piece), whole, "pieces of {piece}");
    }
}

#[test]
fn packets_of_real_servers_are_heard_in_any_pieces() {
    let mut stream = Vec::new();
    for line in QUORUM.lines().filter(|line| !line.starts_with('#')).take(40) {
        stream.extend(bytes(line));
    }
    let whole = heard(Port::Quorum, &stream, stream.len());
    assert!(whole.len() == 40 && whole.iter().all(|text| text != "bytes that are no message"));
    for piece in [1, 7, 64] {
        assert_eq!(heard(Port::Quorum, &stream, piece), whole, "pieces of {piece}");
    }
}

#[test]
fn four_letter_words_and_their_answers_are_heard() {
    for piece in 1..=5 {
        let mut tap = Tap::new(Port::Client);
        let word =
            b"srvr\n".chunks(piece).flat_map(|cut| tap.push(0, &Bytes::copy_from_slice(cut)));
        let word: Vec<String> = word.map(|message| message.text).collect();
        assert_eq!(word, ["four-letter word srvr"], "pieces of {piece}");
        let answer = tap.push(1, &Bytes::from_static(b"Zookeeper version: 3.9.5\nLatency\n"));
        assert_eq!(answer[0].text, "text of 2 lines, \"Zookeeper version: 3.9.5\"");
    }
    assert_eq!(heard(Port::Client, b"what is this?", 2), ["bytes that are no message"]);
}

#[test]
fn garbage_is_said_once() {
    for port in [Port::Client, Port::Election, Port::Quorum] {
        let told = heard(port, &[0x7f; 200], 50);
        let last = told.last().expect("something is said");
        assert_eq!(last, "bytes that are no message", "{port:?}");
        assert_eq!(told.iter().filter(|text| *text == last).count(), 1, "{port:?}");
    }
}
