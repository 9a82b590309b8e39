//! A tun device: IP packets from and to the system.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags};
use tokio::io::{Interest, unix::AsyncFd};

use crate::readiness::register;

/// A tun device, which is there as long as this.
pub(super) struct Tun {
    device: AsyncFd<OwnedFd>,
    name: String,
}

impl Tun {
    /// Makes a device. Without a name the system chooses one: `tun0` and so on.
    ///
    /// # Errors
    /// The system's: mostly it wants the right `CAP_NET_ADMIN` for this.
    #[allow(unsafe_code)]
    pub(super) fn open(name: Option<&str>) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
        let wanted = name.unwrap_or_default().as_bytes();
        // SAFETY: every bit pattern is an `ifreq`, zeros among them.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The name ends with a zero.
        if wanted.len() >= request.ifr_name.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of the interface is too long"));
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(wanted) {
            *place = libc::c_char::from_ne_bytes([*byte]);
        }
        let kind = libc::IFF_TUN | libc::IFF_NO_PI;
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(kind).map_err(io::Error::other)?;
        // SAFETY: the request is an initialised `ifreq`, which this call reads, and into which it writes the name.
        if unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let name = request.ifr_name.iter().map(|byte| byte.to_ne_bytes()).take_while(|byte| *byte != [0]).flatten();
        let name = String::from_utf8_lossy(&name.collect::<Vec<_>>()).into_owned();
        let device = register(device, Interest::READABLE)?;
        Ok(Self { device, name })
    }

    /// The name of the interface.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next packet; its length.
    ///
    /// # Errors
    /// The device is gone.
    pub(super) async fn read(&self, block: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.device.readable().await?;
            if let Ok(read) = ready.try_io(|device| Ok(rustix::io::read(device, &mut *block)?)) {
                return read;
            }
        }
    }

    /// Hands a packet to the system. It never waits: the system takes it or drops it.
    ///
    /// # Errors
    /// The system does not take it for a packet, or the device is down.
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<()> {
        rustix::io::write(self.device.get_ref(), packet)?;
        Ok(())
    }
}
