# packaging/formula replaces the words between @ for a release. This file cannot be installed;
# the file in the release can.
class HermesDoctor < Formula
  desc "Find the root cause of a failing Hermes server, and change nothing on the host"
  homepage "https://github.com/@REPOSITORY@"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "@URL@/hermes-doctor-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:aarch64-apple-darwin@"
    end
    on_intel do
      url "@URL@/hermes-doctor-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:x86_64-apple-darwin@"
    end
  end

  on_linux do
    on_arm do
      url "@URL@/hermes-doctor-@VERSION@-aarch64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-musl@"
    end
    on_intel do
      url "@URL@/hermes-doctor-@VERSION@-x86_64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-musl@"
    end
  end

  def install
    bin.install "hermes-doctor"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/hermes-doctor"
    zsh_completion.install "completions/_hermes-doctor"
    fish_completion.install "completions/hermes-doctor.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/hermes-doctor --version")
    # A server of its own, on a port of the loopback address.
    system bin/"hermes-doctor", "demo", "healthy"
  end
end
