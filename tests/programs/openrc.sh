#!/bin/bash
# Starts a service of OpenRC in the mount namespace that this runs in: openrc.sh TREE SCRIPT. TREE has the unpacked packages
# openrc, librc1 and libeinfo1 of Debian as directories lib and sbin; SCRIPT becomes /etc/init.d/hermes.
set -e
overlay() {
  mount -t overlay -o "lowerdir=$1:$2" overlay "$2"
}
overlay "$1" /usr
mkdir -p "$1/etc"
touch "$1/etc/insserv.conf" "$1/etc/rc.conf"
overlay "$1/etc" /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/init.d
# The directories that openrc(8) makes at boot.
mkdir -p /run/lock /run/openrc/{started,starting,stopping,inactive,wasinactive,failed,hotplugged,coldplugged,daemons,options,exclusive,scheduled,tmp,init.d}
touch /run/openrc/softlevel
cp "$2" /etc/init.d/hermes
chmod +x /etc/init.d/hermes
exec rc-service hermes start
