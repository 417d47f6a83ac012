"""What keeps a browser from offering a camera, told to the page before anybody presses Start.

Nothing is asked of the camera: the browser's lists of devices and of permissions say enough.
"""

from __future__ import annotations

import streamlit as st

_JS = """
export default function ({ setStateValue, parentElement }) {
  if (parentElement.watched) return;
  parentElement.watched = true;
  let told = null;
  const problem = async () => {
    if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) return 'insecure';
    if (!window.RTCPeerConnection) return 'no WebRTC';
    const devices = await navigator.mediaDevices.enumerateDevices();
    if (!devices.some(device => device.kind === 'videoinput')) return 'no camera';
    const permission = await navigator.permissions?.query({ name: 'camera' }).catch(() => null);
    if (permission) permission.onchange = look;
    return permission?.state === 'denied' ? 'denied' : null;
  };
  const look = async () => {
    const found = await problem();
    if (found !== told) setStateValue('problem', told = found);
  };
  navigator.mediaDevices?.addEventListener('devicechange', look);
  look();
}
"""
_component = st.components.v2.component("fer_camera", js=_JS)

PROBLEMS = {
    "insecure": "This browser gives a page its camera only on localhost or over HTTPS; open the dashboard in one of "
    "these ways, or use a photo.",
    "no WebRTC": "This browser has no WebRTC, which the live view needs; open the dashboard in another browser, or use "
    "a photo.",
    "no camera": "This browser offers no camera: connect one and it is found at once, or use a photo.",
    "denied": "This browser was told to keep the camera from this page; allow it in the address bar, or use a photo.",
}


def camera_problem(key: str = "camera check") -> str:
    """Why there is no camera, in a sentence; "" where there is one, or before the browser has answered."""
    answer = _component(key=key, on_problem_change=lambda: None)
    return PROBLEMS.get(answer.problem or "", "")
