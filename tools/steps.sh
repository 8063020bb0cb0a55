# shellcheck shell=sh
# steps.sh - what the scripts of tools/ share; sourced from the repository root.

# Open MPI in containers and on small or busy machines: root may run, more ranks than cores may run, ranks are not tied to cores and give way
# while they wait, no ptrace-based copies.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none

started=$(date +%s)
step() { # heading with the seconds since the start
    printf '\n== %s (%d s)\n' "$1" $(($(date +%s) - started))
}

logged() { # logged FILE COMMAND...: quiet unless the command fails
    log=$1
    shift
    if "$@" >"$log" 2>&1; then
        return 0
    else
        code=$?
        tail -n 60 "$log" >&2
        echo "chiasm: failed (exit code $code): $*; the whole output is in $log" >&2
        exit "$code"
    fi
}

python() { # Debian's own, which has h5py and matplotlib, before any other on the path
    if [ -x /usr/bin/python3 ]; then /usr/bin/python3 "$@"; else python3 "$@"; fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
