# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras: V4L2, CSI, RTSP, and the newest image of a live source."""

import errno
import itertools
import os
import socket
import threading
import time

import cv2
import pytest
from footage import LENGTH, NS, frames_until, message_of, number_in, write_video
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.sources import SourceLost, SourceUnavailable, csi_pipeline, open_source
from sage_perception.vision.sources.live import LiveSource
from sage_perception.vision.sources.uri import parse_uri
from sage_perception.vision.sources.v4l2 import camera_problem, capture_stamp, explain, stable_path


def test_camera_errors_contain_the_fix(tmp_path):
    assert 'usermod -aG video' in explain(errno.EACCES)
    assert 'fuser' in explain(errno.EBUSY)
    assert 'format=MJPG' in explain(errno.ENOSPC)
    assert 'plug it in' in explain(errno.ENOENT)
    assert os.strerror(errno.EMFILE) in explain(errno.EMFILE)
    assert explain(errno.ENOENT) == camera_problem(str(tmp_path / 'video0'))
    (tmp_path / 'file').touch()
    assert camera_problem(str(tmp_path / 'file')) == 'is not a Video4Linux device'


def test_prefers_stable_links(tmp_path):
    by_id, by_path = tmp_path / 'by-id', tmp_path / 'by-path'
    for number in range(3):
        (tmp_path / f'video{number}').touch()
    by_id.mkdir()
    by_path.mkdir()
    (by_id / 'usb-Maker_Model_0001-video-index0').symlink_to('../video0')
    (by_path / 'pci-usb-0:1-video-index0').symlink_to('../video0')
    (by_path / 'pci-usb-0:2-video-index0').symlink_to('../video1')
    folders = (str(by_id), str(by_path))

    def known(name):
        return stable_path(str(tmp_path / name), folders)

    assert known('video0') == str(by_id / 'usb-Maker_Model_0001-video-index0')
    assert known('video1') == str(by_path / 'pci-usb-0:2-video-index0')
    assert known('video2') == str(tmp_path / 'video2')
    gone = by_id / 'usb-Maker_Other_0002-video-index0'
    assert known(gone) == str(gone)
    uri = parse_uri('/dev/video0?fps=30&size=64x48')
    assert uri.at('/dev/v4l/by-id/a b') == 'v4l2:///dev/v4l/by-id/a%20b?fps=30&size=64x48'
    assert parse_uri(uri.at('/dev/v4l/by-id/a b')).path == '/dev/v4l/by-id/a b'


@given(st.floats() | st.floats(1e6 - 2000, 1e6 + 2000), st.just(1_000_000 * 10**6))
def test_capture_stamp_is_within_the_last_second(driver_ms, now_ns):
    stamp = capture_stamp(driver_ms, now_ns)
    assert now_ns - NS < stamp <= now_ns
    if now_ns - NS < driver_ms * 1e6 <= now_ns:
        assert stamp == pytest.approx(driver_ms * 1e6, abs=1)
    else:
        assert stamp == now_ns


def test_csi_pipeline():
    assert csi_pipeline(1, width=1920, height=1080, fps=29.97, flip=2, wbmode=0, mode=3) == (
        'nvarguscamerasrc sensor-id=1 wbmode=0 sensor-mode=3 ! '
        'video/x-raw(memory:NVMM), width=1920, height=1080, format=NV12, framerate=2997/100 ! '
        'nvvidconv flip-method=2 ! video/x-raw, format=BGRx ! videoconvert ! '
        'video/x-raw, format=BGR ! appsink drop=1 max-buffers=1 sync=0'
    )
    assert 'sensor-mode' not in csi_pipeline(0)
    assert 'framerate=30/1' in csi_pipeline(0)


def test_csi_requires_gstreamer():
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip('this OpenCV has GStreamer')
    assert 'without GStreamer' in message_of('csi://0?flip=2')


def test_live_source_keeps_the_newest_image(video):
    # A decoder simulates a camera that is faster than its reader.
    uri = parse_uri(f'{video}?size=128x96')
    with LiveSource(uri, cv2.VideoCapture(str(video)), 'camera', 'no image') as source:
        assert (source.width, source.height) == (128, 96)
        seen = frames_until(source, SourceLost, 'camera no longer delivers')
    assert all(number_in(frame.image) == frame.index for frame in seen)
    assert seen[-1].index == LENGTH - 1
    for before, after in itertools.pairwise(seen):
        assert before.index < after.index
        assert before.captured_ns < after.captured_ns <= time.monotonic_ns()


def test_camera_without_image_is_unavailable(video):
    capture = cv2.VideoCapture(str(video))
    while capture.grab():
        pass
    with pytest.raises(SourceUnavailable, match='no image'):
        LiveSource(parse_uri(str(video)), capture, 'camera', 'no image')
    assert not capture.isOpened()


class RtspServer:
    """An RTSP server on this host; it sends an MPEG transport stream over TCP to one client."""

    def __init__(self, stream):
        self._packets = [stream[at : at + 7 * 188] for at in range(0, len(stream), 7 * 188)]
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.port = self._socket.getsockname()[1]
        self.requests = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        client, _ = self._socket.accept()
        self._socket.close()
        with client, client.makefile('rb') as lines:
            while True:
                request = [line.decode().strip() for line in iter(lines.readline, b'\r\n')]
                if not request:
                    return
                self.requests.append(request[0])
                method = request[0].split()[0]
                cseq = next(line for line in request if line.lower().startswith('cseq'))
                body = 'v=0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:0\r\n'
                response = {
                    'OPTIONS': 'Public: DESCRIBE, SETUP, PLAY\r\n\r\n',
                    'DESCRIBE': f'Content-Type: application/sdp\r\nContent-Length: {len(body)}'
                    f'\r\n\r\n{body}',
                    'SETUP': 'Session: 1\r\n'
                    'Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n',
                    'PLAY': 'Session: 1\r\n\r\n',
                }[method]
                client.sendall(f'RTSP/1.0 200 OK\r\n{cseq}\r\n{response}'.encode())
                if method == 'PLAY':
                    break
            for number, packet in enumerate(self._packets):
                # RTP (RFC 3550) of payload type 33, interleaved (RFC 2326, 10.12) as channel 0.
                head = bytes([0x80, 33]) + number.to_bytes(2, 'big') + bytes(8)
                size = (len(head) + len(packet)).to_bytes(2, 'big')
                client.sendall(b'$\0' + size + head + packet)


def test_reads_rtsp_stream(tmp_path):
    stream = write_video(tmp_path / 'stream.ts', 200, 'mp4v').read_bytes()
    server = RtspServer(stream)
    uri = f'rtsp://eve:secret@127.0.0.1:{server.port}/live?channel=2&size=128x96&token=abc'
    with open_source(uri) as source:
        assert source.identity == f'rtsp://127.0.0.1:{server.port}/live?channel=2&token=***'
        assert source.uri == uri
        assert (source.width, source.height) == (128, 96)
        assert server.requests[0].split()[1].endswith('/live?channel=2&token=abc')
        frames = frames_until(source, SourceLost)
    assert {frame.image.shape for frame in frames} == {(96, 128, 3)}
    # No image is damaged, and skipped images are counted.
    assert [number_in(frame.image) for frame in frames] == [frame.index for frame in frames]
    assert frames[-1].index > 190


def test_unreachable_rtsp_camera_is_unavailable():
    with socket.create_server(('127.0.0.1', 0)) as reserved:
        port = reserved.getsockname()[1]
    with pytest.raises(SourceUnavailable, match='does not respond') as caught:
        open_source(f'rtsp://eve:secret@127.0.0.1:{port}/live')
    assert 'secret' not in str(caught.value)
