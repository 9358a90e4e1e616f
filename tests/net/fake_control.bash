#!/usr/bin/env bash
# A coordination server that is not right, for one connection on pipes of socat's.
#
# usage: fake_control.bash MODE HOST PORT      HOST and PORT: of the real headscale
#   other      some other web server                    redirect   308, to https
#   version    closes right after the 101, as headscale does with a client that is too old
#   old        refuses the key fetch of a client that is too old, by a 400 with a line of text
#   date       redirects, and says it is PORT seconds since 1970
#   key        gives another key than the server has    proxy      all is well
set -euo pipefail
mode=$1 host=$2 port=$3

answer() { # STATUS BODY [HEADER]
	printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s' \
		"$1" ${#2} "${3:+$3$'\r\n'}" "$2"
}

# A pipe is read byte by byte: what follows the header stays for cat.
lines=()
while IFS= read -r line && [[ ${line%$'\r'} ]]; do lines+=("${line%$'\r'}"); done
read -r _ path _ <<<"${lines[0]}"

pass_on() {
	exec socat -t 0.5 - "TCP:$host:$port" < <(printf '%s\r\n' "${lines[@]}" '' && exec cat)
}

case $mode:$path in
other:*) answer '200 OK' '<html>It works!</html>' ;;
redirect:*) answer '308 Permanent Redirect' '' "Location: https://control.lab.test$path" ;;
date:*) answer '301 Moved Permanently' '' "Location: https://$host$path"$'\r\n'"Date: $(
	LC_ALL=C date -u -d "@$port" '+%a, %d %b %Y %H:%M:%S GMT'
)" ;;
version:/ts2021)
	printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n\r\n'
	;;
old:/key*) answer '400 Bad Request' 'unsupported client version: v1.36 (56)' ;;
key:/key*)
	other=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
	answer '200 OK' "{\"legacyPublicKey\":\"mkey:${other//?/0}\",\"publicKey\":\"mkey:$other\"}" # 64 zeros: none
	;;
*) pass_on ;;
esac
