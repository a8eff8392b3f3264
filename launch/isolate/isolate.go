// Package isolate runs a command where nothing can be reached but Remit and nothing written but the work tree: in user,
// mount, pid, network, IPC and UTS namespaces of its own (namespaces(7)), without capabilities, with Landlock and seccomp
// on top.
//
// The process inside is made by package launch, which also tells the server. This package builds what the process sees
// (Enter), takes everything from it that it needed for that (Room.Close, Restrict) and, as process 1 of its pid namespace,
// runs the command (Init).
package isolate

import (
	"path/filepath"
	"slices"
	"strings"
)

// Box is what a sandbox is made from. All paths are absolute, as the launcher sees them.
type Box struct {
	UID, GID int      // of the launcher
	Dir      string   // where the command starts: the work tree is the git work tree around it, or the directory itself
	Homes    []string // of the person: shown empty and writable, with the programs that lie in them
	Path     []string // the directories of the command's PATH
	Program  string   // the command, as found outside, or ""
	Hide     []string // credentials, wherever they lie
	Sockets  []string // pathname sockets that are bound now
}

// Share is what is shown besides, when the command is about to run.
type Share struct {
	Read, Write []string
}

// Weak is what can be had without namespaces: Landlock alone. Files are as in a sandbox, except that git's hooks and
// agents' settings in the work tree stay writable; TCP goes to one port, of any host; sockets in the file system can be
// connected to below Landlock ABI 9; processes of the same user are visible, but cannot be signalled from ABI 6 on.
type Weak struct {
	Box
	Temporary string // a directory for HOME and TMPDIR
	Port      int    // of the launcher's front, on the host's loopback interface
}

// InsideUID is what root is inside: a user that is nobody special.
const InsideUID = 1000

// system are the directories of the machine that are shown, read-only: programs, libraries and configuration. Whatever
// else a machine has (other people's homes, /var, /run, /srv, mounted disks) is not there.
var system = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu", "/snap", "/sw",
	"/var/lib/ca-certificates", "/var/lib/alternatives", "/sys/devices/system", "/sys/fs/cgroup",
}

// secrets are paths in the system's directories that only root may read, and that a command of root could therefore.
var secrets = []string{
	"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/ssl/private", "/etc/pki/tls/private", "/etc/krb5.keytab",
	"/etc/kubernetes", "/etc/rancher", "/etc/docker", "/etc/letsencrypt", "/etc/wireguard", "/etc/openvpn", "/etc/ppp", "/etc/NetworkManager/system-connections", "/etc/remit",
}

// programs are directories below a home that hold programs and no credentials; they are shown, read-only.
var programs = []string{
	".local/bin", ".local/lib", ".local/share/claude", ".local/share/pnpm", ".local/share/mise", ".local/share/uv", ".local/share/fnm", ".local/share/pipx", ".local/pipx",
	".nvm", ".npm-global/bin", ".npm-global/lib", ".npm-packages/bin", ".npm-packages/lib", ".volta", ".bun", ".deno/bin", ".cargo/bin", ".rustup", ".pyenv", ".rbenv", ".asdf", ".sdkman/candidates", "go/bin", "go/pkg/mod", "sdk",
	".claude/local", ".opencode/bin", ".dotnet", ".ghcup", ".juliaup", ".nix-profile", "miniconda3", "anaconda3",
}

// InPrograms are patterns of the credentials that may lie in these after all: configuration of one installation.
var InPrograms = []string{".nvm/versions/node/*/etc/npmrc", "miniconda3/.condarc", "anaconda3/.condarc", "miniconda3/etc/pip/pip.conf", "anaconda3/etc/pip/pip.conf"}

// linuxbrew is where Homebrew lies on Linux: in a home of its own.
var linuxbrew = filepath.Join("/home", "linuxbrew", ".linuxbrew")

// crossroads are directories that many things of many people lie in: none of them is a work tree.
var crossroads = []string{"/", "/home", "/root", "/tmp", "/var", "/var/tmp", "/run", "/usr", "/usr/local", "/etc", "/opt", "/proc", "/sys", "/dev", "/boot", "/srv", "/mnt", "/media", "/nix"}

// below tells whether path is dir or lies in it.
func below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// outermost are paths without those that lie in another of them, sorted.
func outermost(paths []string) []string {
	sorted := slices.Sorted(slices.Values(paths))
	var out []string
	for _, p := range sorted {
		p = filepath.Clean(p)
		if !filepath.IsAbs(p) || slices.ContainsFunc(out, func(above string) bool { return below(p, above) }) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// toShow are the paths below b's hidden directories that a command needs for its programs, outermost.
func (b Box) toShow() []string {
	var out []string
	for _, home := range b.Homes {
		for _, p := range programs {
			out = append(out, filepath.Join(home, p))
		}
	}
	for _, dir := range b.Path {
		dir = filepath.Clean(dir)
		switch {
		case below(dir, linuxbrew):
			out = append(out, linuxbrew)
		case filepath.IsAbs(dir) && !slices.Contains(b.Homes, dir) && !slices.Contains(crossroads, dir):
			out = append(out, dir)
		}
	}
	return outermost(out)
}

// packageOf is what of a program's own files must be shown so that it runs: the tree of packages that a program of Node
// lies in, else the file alone.
func packageOf(program string) string {
	const packages = "/node_modules/"
	if i := strings.Index(program, packages); i >= 0 {
		return program[:i+len(packages)-1]
	}
	return program
}
