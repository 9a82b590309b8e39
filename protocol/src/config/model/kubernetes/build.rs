//! Building an image before the pod starts (work-types 2.7).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How an image is built and made known to the cluster.
#[derive(Debug, Clone, Default)]
pub struct ImageBuild {
    /// Program that builds.
    pub method: BuildMethod,
    /// Command line for [`BuildMethod::Command`], to be split like a shell does.
    pub command: Option<String>,
    /// File with the build's instructions.
    pub dockerfile: Option<PathBuf>,
    /// Image that a build script starts from.
    pub base: Option<String>,
    /// Script that a built image runs.
    pub script: Option<String>,
    /// Where the files for the build come from.
    pub context: BuildContext,
    /// Arguments of the build.
    pub args: BTreeMap<String, String>,
    /// Name of the built image.
    pub tag: Option<String>,
    /// Whether layers of earlier builds are not used.
    pub no_cache: bool,
    /// Longest build; 30 minutes where unset.
    pub timeout: Option<Duration>,
    /// Whether the unit ends after the build.
    pub only: bool,
    /// Where the image is put.
    pub target: ImageTarget,
    /// Registry to push to.
    pub registry: Option<String>,
    /// File of the registry's credentials.
    pub registry_auth_file: Option<PathBuf>,
    /// Name of the local cluster that an image is loaded into.
    pub cluster_name: Option<String>,
    /// Command line for [`ImageTarget::Command`].
    pub load_command: Option<String>,
}

/// Program that builds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildMethod {
    /// Nothing is built.
    #[default]
    None,
    /// `buildah`.
    Buildah,
    /// `podman`.
    Podman,
    /// `docker`.
    Docker,
    /// The configured command.
    Command,
}

/// Where the files for a build come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildContext {
    /// There are none.
    #[default]
    None,
    /// The unit's stdin, a tar archive.
    Payload,
}

/// Where a built image is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageTarget {
    /// It stays with the builder.
    #[default]
    None,
    /// Pushed to the registry.
    Registry,
    /// Imported into this host's containerd.
    Containerd,
    /// Loaded into a kind cluster.
    Kind,
    /// Loaded into a minikube cluster.
    Minikube,
    /// Handed to the configured command.
    Command,
}
