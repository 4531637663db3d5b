# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=sh disable=SC2034
#
# Which slot was booted, as the firmware, the boot loader and the kernel's command line tell.
# Reads; changes nothing. For any POSIX shell; of other programs it needs od alone.
#
# What a variable holds comes from outside. It is only ever a list of hexadecimal words here, or
# text of the characters that `decode` knows.

: "${FLIPSIDE_ROOT=}"
efivars=$FLIPSIDE_ROOT/sys/firmware/efi/efivars
loader=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
global=8be4df61-93ca-11d2-aa0d-00e098032b8c

# Sets $words to the bytes of the variable $1 without its attributes, in hexadecimal. Fails where
# there is no such variable.
read_variable() {
    words=
    [ -f "$efivars/$1" ] || return 1
    # efivarfs cannot be seeked, and no variable of these is longer.
    # shellcheck disable=SC2046
    set -- $(od -An -v -tx1 -N 4096 "$efivars/$1" 2>/dev/null)
    [ $# -gt 4 ] || return 1
    shift 4
    words=$*
}

# Sets $text to the UTF-16 text in the words $@ up to its NUL: in lower case, each run of / and \ as
# one /, and ? for what no name of flipside's has.
decode() {
    text=
    while [ $# -ge 2 ]; do
        case $2$1 in
        0000) return ;;
        002b) text=$text+ ;;
        002d) text=$text- ;;
        002e) text=$text. ;;
        005f) text=${text}_ ;;
        002f | 005c) text=${text%/}/ ;;
        003[0-9]) text=$text${1#3} ;;
        00[46]1) text=${text}a ;; 00[46]2) text=${text}b ;; 00[46]3) text=${text}c ;;
        00[46]4) text=${text}d ;; 00[46]5) text=${text}e ;; 00[46]6) text=${text}f ;;
        00[46]7) text=${text}g ;; 00[46]8) text=${text}h ;; 00[46]9) text=${text}i ;;
        00[46]a) text=${text}j ;; 00[46]b) text=${text}k ;; 00[46]c) text=${text}l ;;
        00[46]d) text=${text}m ;; 00[46]e) text=${text}n ;; 00[46]f) text=${text}o ;;
        00[57]0) text=${text}p ;; 00[57]1) text=${text}q ;; 00[57]2) text=${text}r ;;
        00[57]3) text=${text}s ;; 00[57]4) text=${text}t ;; 00[57]5) text=${text}u ;;
        00[57]6) text=${text}v ;; 00[57]7) text=${text}w ;; 00[57]8) text=${text}x ;;
        00[57]9) text=${text}y ;; 00[57]a) text=${text}z ;;
        *) text=$text\? ;;
        esac
        shift 2
    done
    # Half a character is left: this is no text.
    [ $# -eq 0 ] || text=$text\?
}

# Sets $text to the text of the loader's variable $1, or to nothing.
loader_text() {
    text=
    read_variable "$1-$loader" || return 0
    # shellcheck disable=SC2086
    decode $words
}

# Sets $uuid to the partition that the loader's variable $1 names, or to nothing.
loader_partition() {
    loader_text "$1"
    uuid=
    case $text in
    *[!0-9a-f-]*) ;;
    ????????-????-????-????-????????????) uuid=$text ;;
    esac
}

# Prints the slot whose boot file is $1, decoded.
slot_of_boot_file() {
    case ${1#/} in
    efi/flipside/boot-a.efi) echo a ;;
    efi/flipside/boot-b.efi) echo b ;;
    esac
}

# Prints the slot that the loader's entry $1, decoded, boots: flipside-a.conf, with counted tries
# flipside-a+2-1.conf, without its suffix from older loaders.
slot_of_entry() {
    set -- "${1%.conf}"
    case $1 in
    *+) return ;;
    *+*) case ${1#*+} in *[!0-9-]*) return ;; esac ;;
    esac
    case ${1%%+*} in
    flipside-a) echo a ;;
    flipside-b) echo b ;;
    esac
}

# Sets $value to the last value that the kernel's command line gives to $1, in the kernel's own
# reading: white space within double quotes parts no words, and what follows -- is for init. Fails
# where it has no such word.
command_line() {
    value='' quoted='' word='' found=1
    wanted=$1
    line=
    # The last line may lack its end.
    IFS= read -r line <"$FLIPSIDE_ROOT/proc/cmdline" 2>/dev/null || [ -n "$line" ] || return 1
    set -f
    # shellcheck disable=SC2086
    set -- $line
    set +f
    for part; do
        word=${word:+$word }$part
        while :; do
            case $part in
            *\"*) part=${part#*\"} ;;
            *) break ;;
            esac
            if [ "$quoted" ]; then quoted=; else quoted=y; fi
        done
        [ -z "$quoted" ] || continue
        [ "$word" != -- ] || break
        without_quotes "$word"
        case $word in
        "$wanted") value='' found=0 ;;
        "$wanted"=*) value=${word#*=} found=0 ;;
        esac
        word=
    done
    return $found
}

# Sets $word to $1 without its double quotes.
without_quotes() {
    word=
    set -- "$1"
    while :; do
        case $1 in
        *\"*) word=$word${1%%\"*} ;;
        *) break ;;
        esac
        set -- "${1#*\"}"
    done
    word=$word$1
}

# Reads the entry that BootCurrent names. Sets $entry_file, decoded, and $entry_partition to what
# its device path names (UEFI 3.1.3, 10.3.5), or to nothing.
boot_current() {
    entry_file='' entry_partition=''
    read_variable "BootCurrent-$global" || return 0
    # shellcheck disable=SC2086
    set -- $words
    [ $# -eq 2 ] || return 0
    number=$2$1
    upper=
    while [ -n "$number" ]; do
        case $number in
        a*) upper=${upper}A ;; b*) upper=${upper}B ;; c*) upper=${upper}C ;;
        d*) upper=${upper}D ;; e*) upper=${upper}E ;; f*) upper=${upper}F ;;
        *) upper=$upper${number%"${number#?}"} ;;
        esac
        number=${number#?}
    done
    read_variable "Boot$upper-$global" || return 0
    # shellcheck disable=SC2086
    set -- $words
    # The attributes, the length of the device path, then the description up to its NUL.
    [ $# -gt 6 ] || return 0
    shift 6
    while [ $# -ge 2 ] && [ "$1$2" != 0000 ]; do shift 2; done
    [ $# -ge 2 ] || return 0
    shift 2
    while [ $# -ge 4 ]; do
        length=$((0x$4$3))
        { [ "$length" -ge 4 ] && [ "$length" -le $# ]; } || break
        case $1$2 in
        0401)
            # A partition, of a GPT, named by its GUID: the last two bytes say so.
            if [ "$length" -eq 42 ] && [ "${41} ${42}" = '02 02' ]; then
                entry_partition=${28}${27}${26}${25}-${30}${29}-${32}${31}-${33}${34}
                entry_partition=$entry_partition-${35}${36}${37}${38}${39}${40}
            fi
            ;;
        0404)
            decode_node "$length" "$@"
            # A path may come in parts.
            entry_file=${entry_file:+${entry_file%/}/}${text#/}
            ;;
        7f*) break ;;
        esac
        shift "$length"
    done
}

# Decodes the text of a device path's node of $1 bytes, which are the words that follow it.
decode_node() {
    left=$(($1 - 4)) part=
    shift 5
    while [ "$left" -gt 0 ]; do
        part="$part $1"
        shift
        left=$((left - 1))
    done
    # shellcheck disable=SC2086
    decode $part
}

# Sets $esp to the partition that was booted from, as the loader or else the stub says, and $slot
# to the booted slot and $source to what told; to nothing where nothing tells. What is said of
# another partition than that one tells nothing. Sets $is_kexec where a kexec told, and
# $current_slot to the slot of the entry that the firmware booted. Fails where a kexec told
# something that is no slot.
read_slot() {
    slot='' source='' is_kexec='' current_slot=''
    loader_partition LoaderDevicePartUUID
    loader_esp=$uuid
    loader_partition StubDevicePartUUID
    stub_esp=$uuid
    esp=${loader_esp:-$stub_esp}

    boot_current
    if [ -z "$esp" ] || [ "$entry_partition" = "$esp" ]; then
        current_slot=$(slot_of_boot_file "$entry_file")
        # Without a loader and a stub that say so.
        [ -z "$current_slot" ] || esp=${esp:-$entry_partition}
    fi

    if command_line flipside.slot; then
        case $value in
        a | A) slot=a is_kexec=y source=flipside.slot ;;
        b | B) slot=b is_kexec=y source=flipside.slot ;;
        # The loader's variables name the slot before the kexec, and nothing names this one.
        *) return 1 ;;
        esac
    fi
    # The loader's variables and the 252 stub's stay where what they tell of did not start and the
    # firmware went on: its own entry for a boot file comes before them.
    for told in StubImageIdentifier BootCurrent LoaderEntrySelected LoaderImageIdentifier; do
        [ -z "$slot" ] || return 0
        case $told in
        Stub*) [ "${stub_esp:-$esp}" = "$esp" ] || continue ;;
        BootCurrent)
            slot=$current_slot
            [ -z "$slot" ] || source=$told
            continue
            ;;
        esac
        loader_text "$told"
        case $told in
        LoaderEntrySelected) slot=$(slot_of_entry "$text") ;;
        *) slot=$(slot_of_boot_file "$text") ;;
        esac
        [ -z "$slot" ] || source=$told
    done
}
