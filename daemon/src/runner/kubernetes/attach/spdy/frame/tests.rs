use proptest::prelude::*;

use super::*;

fn all(bytes: &[u8]) -> Vec<Result<Frame, FrameError>> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    std::iter::from_fn(|| decoder.next().transpose()).take(bytes.len()).collect()
}

fn control_frame(kind: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(0x8003_0000 | u32::from(kind), flags, payload.len()).to_vec();
    frame.extend(payload);
    frame
}

/// The layouts of kubernetes-streams 3.2.
#[test]
fn frames_are_laid_out_as_in_the_reference() {
    assert_eq!(data_head(3, false, 32_768), [0, 0, 0, 3, 0, 0, 0x80, 0]);
    assert_eq!(data_head(3, true, 0), [0, 0, 0, 3, 1, 0, 0, 0]);
    assert_eq!(ping(7), [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7]);
    let opening = syn_stream(1, &[0xab; 30]);
    assert_eq!(opening[..18], [0x80, 3, 0, 1, 0, 0, 0, 0x28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(opening[18..], [0xab; 30]);
}

#[test]
fn what_the_server_sends_is_understood() {
    let block = Bytes::from_static(b"block");
    for (bytes, frame) in [
        (b"\0\0\0\x05\x01\0\0\x02ab".to_vec(), Frame::Data { stream: 5, fin: true, bytes: Bytes::from_static(b"ab") }),
        (
            control_frame(2, 0, b"\0\0\0\x03block"),
            Frame::Headers { reply: true, stream: 3, fin: false, block: block.clone() },
        ),
        (
            control_frame(8, 1, b"\0\0\0\x03block"),
            Frame::Headers { reply: false, stream: 3, fin: true, block: block.clone() },
        ),
        (
            control_frame(1, 0, b"\0\0\0\x02\0\0\0\0\0\0block"),
            Frame::Headers { reply: false, stream: 2, fin: false, block },
        ),
        (control_frame(3, 0, b"\0\0\0\x01\0\0\0\x05"), Frame::Reset { stream: 1, status: 5 }),
        (control_frame(6, 0, b"\0\0\0\x02"), Frame::Ping(2)),
        (control_frame(7, 0, b"\0\0\0\x07\0\0\0\0"), Frame::GoAway),
        (control_frame(4, 0, b"\0\0\0\0"), Frame::Other),
        (control_frame(9, 0, b"\0\0\0\x01\0\0\0\x05"), Frame::Other),
    ] {
        assert_eq!(all(&bytes), [Ok(frame)]);
    }
}

#[test]
fn what_is_no_frame_is_an_error() {
    assert_eq!(all(&head(0x8002_0006, 0, 0))[0], Err(FrameError::Version));
    assert_eq!(all(&data_head(1, false, FRAME + 1))[0], Err(FrameError::TooLong(FRAME + 1)));
    for kind in [1, 2, 3, 6, 8] {
        assert_eq!(all(&control_frame(kind, 0, b"\0\0\0"))[0], Err(FrameError::TooShort), "{kind}");
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        sent: Vec<(u32, bool, Vec<u8>)>,
        cuts in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        let mut wire = Vec::new();
        for (stream, fin, bytes) in &sent {
            wire.extend(data_head(*stream, *fin, bytes.len()));
            wire.extend(bytes);
        }
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        let (mut rest, mut cut) = (wire.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rest.len().min(*cut.next().unwrap()));
            decoder.push(piece);
            while let Some(frame) = decoder.next().unwrap() {
                frames.push(frame);
            }
            rest = left;
        }
        let expected: Vec<_> = sent
            .into_iter()
            .map(|(stream, fin, bytes)| Frame::Data { stream: stream & (u32::MAX >> 1), fin, bytes: bytes.into() })
            .collect();
        prop_assert_eq!(frames, expected);
    }

    #[test]
    fn no_bytes_are_too_wild(wire: Vec<u8>, control: bool) {
        let mut bytes = if control { vec![0x80, 3, 0] } else { Vec::new() };
        bytes.extend(wire);
        all(&bytes);
    }
}
