# What several packages of the built-in policy say in the same words.
package remit.lib

# The command runs as its person's own user, with that person's keys in reach. The demo profile runs everything so, and
# says so on every screen.
exposed if {
	input.instance.confinement == "none"
	input.profile != "demo"
}

# The mode by which git marks a submodule: 0160000.
gitlink := 57344
