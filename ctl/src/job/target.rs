use std::path::PathBuf;

use super::given;
use crate::cli::EndpointArgs;
use crate::connect::{Address, Target, TlsFiles, TlsSettings};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::settings::Settings;

/// Options of the command line over settings.
pub(super) fn resolve(args: EndpointArgs, settings: &Settings, environment: &Environment) -> Result<Target, Failure> {
    let address = match given(args.socket.clone()).or_else(|| settings.socket.clone()) {
        Some(text) => Address::parse(&text, environment)?,
        None => Address::default_socket()?,
    };
    let any_host = args.insecureskipverify.or(settings.insecureskipverify).unwrap_or(false);
    let tls = match tls_source(args, settings, environment)? {
        TlsSource::Files(files) => TlsSettings { files, any_host },
        // The file is only looked into where it matters.
        TlsSource::Config { file, name } if matches!(address, Address::Tls { .. }) => {
            let section = TlsSettings::of_config(&file, &name)?;
            TlsSettings { any_host: section.any_host || any_host, ..section }
        }
        TlsSource::Config { .. } => TlsSettings::default(),
    };
    Ok(Target { address, tls: with_system_bundle(tls, environment) })
}

/// `SSL_CERT_FILE` names the system's authorities where they are elsewhere; so the original client's library has it.
fn with_system_bundle(mut tls: TlsSettings, environment: &Environment) -> TlsSettings {
    let bundle = || environment.variable("SSL_CERT_FILE").map(PathBuf::from);
    tls.files.rootcas = tls.files.rootcas.or_else(bundle);
    tls
}

/// The two ways to say which files to use.
enum TlsSource {
    Files(TlsFiles),
    Config { file: PathBuf, name: String },
}

/// One way only: what is on the command line puts the other way in the settings out of force.
fn tls_source(args: EndpointArgs, settings: &Settings, environment: &Environment) -> Result<TlsSource, Failure> {
    let files = |rootcas: Option<String>, key: Option<String>, cert: Option<String>| {
        let path = |text: Option<String>| given(text).map(|text| environment.expand_home(&text));
        TlsFiles { rootcas: path(rootcas), key: path(key), cert: path(cert) }
    };
    let typed_files = files(args.rootcas, args.key, args.cert);
    let typed_config = given(args.config);
    let (config, files) = if typed_config.is_none() && typed_files == TlsFiles::default() {
        let files = files(settings.rootcas.clone(), settings.key.clone(), settings.cert.clone());
        (settings.config.clone(), files)
    } else {
        (typed_config, typed_files)
    };
    let Some(config) = config else { return Ok(TlsSource::Files(files)) };
    if files != TlsFiles::default() {
        return Err(Failure::ConfigAndFiles);
    }
    let name = given(args.tls_client).or_else(|| settings.tls_client.clone()).ok_or(Failure::ConfigWithoutName)?;
    Ok(TlsSource::Config { file: environment.expand_home(&config), name })
}
