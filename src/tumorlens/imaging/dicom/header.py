"""A DICOM file's data set, held back from what hostile files do to a parser.

Tested in `tests/imaging/dicom/test_pixels.py`.
"""

from __future__ import annotations

import io
import logging
import math
import re
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tumorlens.errors import DamagedFileError, InputError, TooLargeError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_INFLATED_BYTES = 64 * 2**20
"""Bytes of a deflated data set: 120 slices of 512 x 512 with 16 bits."""

MAX_DEPTH = 16
"""Sequences inside one another; enhanced MR needs four."""

MAX_READS = 500_000
"""Pieces that the parser may ask for: 1,000 frames of enhanced MR need fewer."""

MAX_SEQUENCE_BYTES = 8 * 2**20
"""Bytes of one sequence of stated length; 1,000 frames of enhanced MR fit."""

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PREAMBLE = b"\0" * 128 + b"DICM"
# (0002,0010) UI, explicit VR little endian: what an inflated data set is.
_PLAIN_META = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom silent: its warnings quote values, a patient's name among them.

    Never around a `yield`: what waits there keeps all other threads waiting.
    """
    # The filters of `warnings` belong to all threads; so one at a time.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
        yield


class _Counted(io.BytesIO):
    """A file that can be asked `MAX_READS` times: each element asks once or more."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise TooLargeError("It has too many elements.")
        return super().read(size)


def parse(data: bytes, name: str) -> Dataset:
    """Read a data set with its pixel data, still encoded.

    Parameters
    ----------
    data
        The whole file.
    name
        The name of the file, for messages.

    Raises
    ------
    DamagedFileError
        Where it is cut off, broken or nested too deeply.
    TooLargeError
        Where it inflates, or has more elements, than a slice can need.
    """
    from pydicom import dcmread

    try:
        with quiet():
            header = dcmread(_Counted(_inflated(data)), force=True)
            _decode_text(header, _check_depth(header, name))
    except TooLargeError as error:
        raise TooLargeError(
            f"{name} has more elements or bytes than an MR picture needs.",
            "Export the series again, uncompressed.",
        ) from error
    except InputError:
        raise
    except RecursionError as error:
        raise _too_deep(name) from error
    # What pydicom raises on broken files is not documented, and is nearly all kinds.
    except Exception as error:
        raise DamagedFileError(
            f"{name} starts like a DICOM file, but its header is cut off or broken."
        ) from error
    return header


def _inflated(data: bytes) -> bytes:
    """Replace a deflated data set by a plain one, within a cap."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    if _DEFLATED.encode() not in data[:4096] or data[128:132] != b"DICM":
        return data
    file = io.BytesIO(data)
    read_preamble(file, force=False)
    meta = _read_file_meta_info(file)
    if str(meta.get("TransferSyntaxUID", "")) != _DEFLATED:
        return data
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = unpacker.decompress(memoryview(data)[file.tell() :], MAX_INFLATED_BYTES)
    if unpacker.unconsumed_tail:
        raise TooLargeError("It inflates without end.")
    return b"".join((_PREAMBLE, _PLAIN_META, plain))


def _too_deep(name: str) -> DamagedFileError:
    return DamagedFileError(
        f"{name} nests its sequences more than {MAX_DEPTH} deep; none needs that."
    )


_Place = tuple["Dataset", Any, str, bytes]
"""A data set, and the tag, kind and bytes of a text in it."""


def _check_depth(top: Dataset, name: str) -> list[_Place]:
    """Unfold every sequence once, so that nobody later meets a trap in it.

    Returns
    -------
    list
        Texts that are more than plain ASCII.
    """
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    texts: list[_Place] = []
    waiting = [(top, 0)]
    while waiting:
        here, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep(name)
        for tag in list(here.keys()):
            item: Any = here.get_item(tag)
            kind = item.VR
            if kind in (None, "UN") and dictionary_has_tag(tag):
                kind = dictionary_VR(tag)
            raw = item.value
            if kind == "DS" and isinstance(raw, bytes) and _COMMAS.fullmatch(raw):
                # Programs of some languages write decimals so.
                here[tag] = item._replace(value=raw.replace(b",", b"."))
                continue
            if kind in _TEXT and isinstance(raw, bytes):
                if not raw.isascii() or _ESCAPE in raw:
                    texts.append((here, tag, str(kind), raw))
                continue
            if kind != "SQ":
                continue
            if isinstance(raw, bytes) and len(raw) > MAX_SEQUENCE_BYTES:
                raise TooLargeError("A sequence is too long.")
            items: Any = here[tag].value
            if not isinstance(items, bytes):
                waiting += [(child, depth + 1) for child in items or ()]
    return texts


_COMMAS = re.compile(
    rb"(?=.*,)\s*[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?\s*"
    rb"(?:\\\s*[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?\s*)*\0?"
)
"""Decimal numbers with commas for points, one or several."""

_TEXT = frozenset(("SH", "LO", "ST", "LT", "UT", "UC", "PN", "CS"))
_ESCAPE = b"\x1b"
_CHARACTER_SET = 0x00080005
_UNICODE = "ISO_IR 192"

_OTHER_NAMES = {
    "UTF8": _UNICODE,
    "UNICODE": _UNICODE,
    "LATIN1": "ISO_IR 100",
    "ISO88591": "ISO_IR 100",
    "WINDOWS1252": "ISO_IR 100",
    "CP1252": "ISO_IR 100",
    "ANSI": "ISO_IR 100",
    "SHIFTJIS": "ISO_IR 13",
    "SJIS": "ISO_IR 13",
    "EUCKR": "ISO 2022 IR 149",
    "GB2312": "GBK",
    "GBK": "GBK",
    "GB18030": "GB18030",
}
"""Names that senders write for a character set, without signs between."""


def _decode_text(header: Dataset, texts: list[_Place]) -> None:
    """Decode text once, as it was meant, so that it is written as UTF-8 from here on.

    Character sets are misspelt, left empty or plain wrong in many files; nothing of
    that may keep a result from the patient it belongs to.
    """
    from pydicom.dataelem import DataElement
    from pydicom.valuerep import PersonName

    stated = header.get_item(_CHARACTER_SET) if _CHARACTER_SET in header else None
    if stated is None and not texts:
        return
    encodings = _encodings(stated)
    for here, tag, kind, raw in texts:
        decoded: Any = _text_of(raw, encodings)
        if kind == "PN":
            # A name remembers how it is written, and would go out as it came.
            names = [PersonName(x, ["UTF8"]) for x in decoded.split("\\")]
            decoded = names[0] if len(names) == 1 else names
        here[tag] = DataElement(tag, kind, decoded)
        if here is not header and _CHARACTER_SET in here:
            del here[_CHARACTER_SET]
    header.add_new("SpecificCharacterSet", "CS", _UNICODE)


def _encodings(stated: object) -> list[str]:
    """Name the codecs of Python for a stated character set, the default's first."""
    from pydicom.charset import convert_encodings, python_encoding

    value = getattr(stated, "value", None)
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        value = value.split("\\")
    terms: list[str] = []
    codecs: list[str] = []
    for item in value if isinstance(value, Iterable) else ():
        name = str(item).strip(" \0").upper()
        bare = "".join(char for char in name if char.isalnum())
        term = _OTHER_NAMES.get(bare, name)
        if bare.startswith("ISO2022IR") and bare[9:].isdigit():
            term = f"ISO 2022 IR {bare[9:]}"
        elif bare.startswith("ISOIR") and bare[5:].isdigit():
            term = f"ISO_IR {bare[5:]}"
        codec = _CODECS.get(bare) or _named_codec(bare)
        if term in python_encoding:
            terms.append(term)
        elif codec:
            codecs.append(codec)
    return [*codecs, *convert_encodings(terms or [""])]


_CODECS = {
    "ISOIR203": "iso8859_15",
    "KOI8R": "koi8_r",
    "EUCJP": "euc_jp",
    "BIG5": "big5",
}


def _named_codec(bare: str) -> str:
    """Name the codec of ``ISO-8859-2`` or ``windows-1251``; empty for other names."""
    part = re.fullmatch(r"ISO8859(1[013-6]?|[2-9])", bare)
    if part:
        return f"iso8859_{part[1]}"
    page = re.fullmatch(
        r"(?:WINDOWS|CP)(125[0-8]|437|85[0258]|866|874|9(?:32|36|49|50))", bare
    )
    return f"cp{page[1]}" if page else ""


_BETWEEN_WORDS = re.compile(rb"[\\\\^=\s,./()+-]+")
_CAPITAL = rb"[\xa1\xa5\xa8\xaa\xaf\xb2\xc0-\xdf]"
_SMALL = rb"[\xa2\xb3\xb4\xb8\xba\xbf\xe0-\xff]"
_CYRILLIC = re.compile(rb"%b(%b+|%b*)" % (_CAPITAL, _SMALL, _CAPITAL))
_KOI8 = re.compile(rb"[\xb3\xe0-\xff]([\xa3\xc0-\xdf]+|[\xb3\xe0-\xff]{3,})")
_GREEK = re.compile(
    rb"[\xb6\xb8-\xba\xbc\xbe\xbf\xc1-\xd9]"
    rb"([\xc0\xdc-\xfe]+|[\xb6\xb8-\xba\xbc\xbe\xbf\xc1-\xdb]*)"
)
_ALPHABETS = (("cp1251", _CYRILLIC), ("iso8859_7", _GREEK), ("koi8_r", _KOI8))
_VOWELS = frozenset("аеёиоуъыэюяіїєαεηιουωάέήίόύώϊϋΐΰ")
_JAPANESE = frozenset(
    "山田中村林木本川井高橋藤佐伊渡辺小加吉松清水池石上下前岡後長谷坂近遠青斎安原"
    "野島崎和久三浦内大西東南北宮口金今竹丸平福太郎次一二子美恵智明正幸雄男夫弘博"
    "健信義勝治隆秀介輔樹真由香奈菜花愛優彩直純裕洋文雅恭千代春夏秋冬光輝翔頭部脳"
    "誠勇気茂潤拓哉賢進寛遼竜也保仁斉貴浩知良晋剛辰徳柴兵酒法静工駿武蔵鉄矢杉歩夢"
    "塚利伸桜寿英世々希克菊星尾新桑征司史晴朗昭哲典紀忠孝敏稔勉薫里沙絵理枝織帆結"
    "衣凛葵咲莉陽蓮斗悠颯蒼湊律朔暖晃亮淳豊実章守護塩関根堀河倉栗早永沢澤﨑嶋黒白"
    "馬飯沼柳瀬浜濱尻津土岐達熊片桐荒須若筒梅榎楠椎森鶴亀鷹浅深滝瀧庭寺堂社市町郷"
    "國邦羽生弦倍菅麻破志位瑞穂錦圭佑友都綾遥架広充鳳満将流堺貞役所巳喜鈴屋城有貫"
    "住角間門戸堤柏楓蒔萩菱桃梨葉芹藍茜芝茅丹波袴鮎鯉蝶鴨雁龍虎獅猪鹿牛犬丑寅卯午"
    "未申酉戌亥壱弐参四五六七八九十百万億禄祥慶賀祐侑祈禎斐紘絃紬緒縁繁継維綱網緑"
    "緋総聡聖肇能臣至興航芙芳苑茉荘菖菫萌葛蒲蓉蔦蕗薗諒謙譲豪赳輪遊運道那郁鋼鎌鏡"
    "閑阪隼雛雫霞霧靖頼顕風飛首馨駒魁鮮麟麿己巨庄康延建弓弥彦彬影徹心必忍応念怜恒"
    "恩悌悟悦情惇惟惣愁慈慎慧成政教敦整於旭旺昂昌昴時晏晟普景晶暁暢曜更朋望末来杏"
    "条板枢柊柚柾栄栞桂桔梁梓梧梶棟棚植椋楊楽槙槻樋標橘機檀欣欽歌殿毅毬比汀江沖泉"
    "泰洲浄海浬涼淑淵渉渚湧温源滋滉漣潮澄濃灯炎為烈煌熙照燈燿父版牧特猛獣王玖玲珀"
    "珂珊珠現球琉琢琥琳琴瑚瑛瑠瑶璃環用甲甫疾皇皐皓盛監相眞眸睦瞬瞭瞳矩碧碩磐磨礼"
    "祝神禅科秦程稀稲穏穣空立童端笑笙笛符第策箕箭節範築紅納紗素紫細紺終組経給統絹"
    "綺綸緯縞績羅羊群翁習翠翼耀耕聞肖肥育胡脩膳臨自舜舞船芯苺茄茶草荏莞華萱落蕉藻"
    "蘭虹蛍行衛袈裟要覚親観解言計訓記設詞詠詢詩誉誓語誼諄識讃象豹貝財資賛質赤起超"
    "越足路軌軍軒輿迪迫追送通速連逸遙遣遵選郭配酵釈重量鉛銀銑銘鋭錠錬鍬鎮鐘鑑開閏"
    "閣降陣除陶陸隅階雀集雲雷電震露音韻順頌領顔題類養餅館馳駅駆騎鬼魚鯛鱗鳥鳩鳴鴻"
    "鷲麦麗黄黎黙鼎鼓齢京助阿人"
)
"""Signs of names and of what series are called."""

_TRADITIONAL = frozenset(
    "陳林黃張李王吳劉蔡楊許鄭謝郭洪曾邱廖賴周徐蘇葉莊呂江何蕭羅高簡朱鍾彭游詹胡施"
    "沈余盧梁趙顏柯翁魏孫戴宋方鄧杜傅侯曹溫薛丁馬董范石卓姚唐藍歐陽馮連姜汪白鄒涂"
    "巫尤龔韓田康阮邵熊古潘童紀譚關麥黎區伍甘怡君淑芬美玲志明俊傑建宏雅婷家豪宗翰"
    "佳穎惠文承偉冠宇宜心國華麗子如哲雯憲貞雄婉嘉育德佩廷慧琪強玉蘭秀英彥瑜倫恩娟"
    "達榮賢中珍安富城大潤朝芳蓉茹萍鳳金春花月珠寶慶豐源祥成龍永福昌輝煌正義仁信忠"
    "孝和平順天生水木東海山雲雪梅菊蓮竹松柏欣靜儀筱詩涵品妍芷晴沛柔思妤昱睿奕辰宥"
    "學詠昇勝凱智銘銓鈞錦鑫霖霞燕素敏毅瑞勇菲九駿威民政良樂清頭部腦佼陶晶瑩其邁婞"
    "淳桂綸鎂瑋甯嫚書若瑄盛毛史錢湯尹易武喬萬段秦顧孟倪殷章俞洛岑翟祝管單杭車包諸"
    "左吉鈕程裴陸茅穆焦牧隗宮寧仇戎祖符景束幽司韶郜薊薄印宿懷蒲從索咸籍藺屠蒙池陰"
    "胥蒼聞莘貢勞逄姬申扶堵冉宰雍璩桑濮壽通邊扈冀浦尚農別晏柴瞿閻充慕習艾容向慎戈"
    "終居衡步都耿滿弘匡寇廣祿闕殳沃利蔚越夔隆師鞏厙聶晁勾敖融冷訾辛那饒空毋沙乜養"
    "鞠須巢相查荊紅權逯蓋益桓公丞云仲伶伯佑佐作使依侖俐倚健偵傳億元先光克全典冬凌"
    "凡初制剛功加助勁勤勳化北千升協卉又友可台同名后吟含均坤垂基堂堯塘塵增士夏夕夙"
    "多夢奇契娜娥娩婕媚媛嫣嬋字存季官定宛宣室宸寅密寒察實審寬寰尊少岳岱峰峻崇嵐嶺"
    "工巧希帆帥常年幸庭庸廉彤彩影征律徵微念恆恬恭悅悟情惟愉意愛慈態憶應所才抒拓持"
    "振捷揚敬整斌新旋旭昀昂昊昕星昭是晉晗晟晨普暄暉暐曄曉曦最有望期本杉杏柳桐梓棋"
    "森椿楠業楓榆樺橋機歆毓求沁沐沅河泉波注泰洋津活流浩浪涓淨深淵渝湘溪滄滋漢潔澄"
    "澤瀚瀾炎炫為烈焜然煜照煥熙燁燈爵爾特玄率玟玥玫珈珊珮現球理琇琛琦琬琳琴瑀瑛瑟"
    "瑤璇璋璐環瓊甄用甫由甲男界留皇皓盈盟目直真眉睦碧磊磐祐神祺禎禮秉秋科稚穗立竣"
    "端筑節範米粹精純紋紫紹絜統絲綠維綺緯縈績繡繼罡羚羽翊翎翔翠翼耀老耕聖聰聲肇致"
    "舒航色芊芝芮芸苑苗苡茵茜荷莉莎莓莛莞菁菡萱葵蓁蓓蔓薇藝虎虹蜜衣裕複西見觀言訓"
    "詔詣詮誌語誠誼諄諒諭諾謙證譯讓豔豫象貝貴賓賦贊超路軍軒輔逸進遠道遙適選邦郁郎"
    "采重野量鈴銀銳鋒鋼錡錫錚鍵鎮鏡鑑長開閎閔陞陵集雙雨雰雷電霆霏靖靚韋音韻頌頤願"
    "顯風飛香馥馨駱騏騰驊驥鴻鵬鶴鷹麒麟黛鼎齊龐"
)
_SIMPLIFIED = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡"
    "蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹"
    "薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤伟芳娜秀英敏静丽强磊军洋勇"
    "艳杰娟涛明超霞平刚桂玉兰红梅建华国文志海波辉春燕云飞鹏宇浩然子轩欣怡梓涵雨佳"
    "俊晓婷雪琴玲凤莲珍萍鑫斌峰庆光荣永生成德福新东南北宁安康家乐思琪慧颖洁倩璐瑶"
    "莉莹月美珠淑贞惠小大中天一三患者头颅脑部增扫丹璇冠霖之谦章岚郎玮琦岳丰凯帅旭"
    "昊晨曦航博哲睿泽凌晗阳彤妍妮娇媛婕嫣岩川州洲河湖泊洪涌渊源溪潇澜炎焕煜照熙爱"
    "爽琛琳瑜瑞璋甜畅皓盈直真知祥祺禹秋科穆立竹笑简米素纯绍维缘罡羽翔翠耀聪育胜舒"
    "良艺芝芮花芸苑苗若茂茜荷莎菁菊菲萌萱葵蓉蓓蔚薇虎虹衡裕西言诗诚诺谊豪贝贤贵越"
    "路辰达远连迪逸道邦郁采重野鉴铭锋锐锦键镇长闻阔陵隆雁雄雯霄霆霜露青靖韵韶顺颂"
    "风飒馨骁骏鲁鸣鸿鹤鹰麒麟黛齐艾柏鲍毕卞卜岑柴车池仇储楚褚从党狄刁窦端樊费封符"
    "甘耿宫巩古谷关管过杭和滑宦霍姬吉季计纪冀焦揭靳荆景居鞠阚柯匡邝况来蓝劳冷厘利"
    "栗练列柳楼禄栾骆麻麦满茅缪闵牟母木倪聂牛欧庞裴皮蒲浦戚祁乔屈瞿冉饶容茹阮赛桑"
    "沙单商尚申盛师施时寿水司粟隋遂邰谈滕佟童屠涂宛危隗卫温翁邬巫伍郗奚席习冼相项"
    "解辛邢胥宣荀鄢晏仰伊易殷银应游尤虞俞喻元原臧查翟湛甄支植仲竺祝卓宗左"
)

_KOREAN = frozenset(
    "가강건경계고관광교구국권규균근금기길김나남노뇌다단달담대덕도동두라란래려"
    "련렬렴령로록룡루류률리린림마만말매머명모목무문미민박반방배백범법변별병보"
    "복봉부분비빈빛사산삼상새샘서석선설섭성세소솔송수숙순슬승시식신심아안애양"
    "언엄여연열염영예오옥온완왕용우욱운웅원월위유육윤율은을의이익인일임자장재"
    "전정제조종주준중지진차찬창채천철청초최추축춘출충치탁탄탐태택판편평표피하"
    "학한함해향허헌혁현협형혜호홍화확환활황회횡효후훈휘흥희"
)
"""Syllables of names and of what series are called: one in eleven of all."""


_KOREAN_FAMILIES = frozenset(
    "김이박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민류"
    "나진지엄채원천방공현함변염여추도소석선설마길연위표명기반라왕금옥육인맹제모탁국어"
)


def _high_words(raw: bytes) -> list[bytes]:
    """List the words that are no ASCII; none where one mixes letters of both."""
    words = [word for word in _BETWEEN_WORDS.split(raw) if not word.isascii()]
    return words if min(b"".join(words), default=0) >= 0x80 else []


def _by_pairs(raw: bytes) -> str:
    """Decode text of no stated set that is no Latin: words of nothing but high bytes.

    Cyrillic and Greek have capitals before small letters; Japanese, Korean and Chinese
    have pairs, of which those of Hangul end early.
    """
    words = _high_words(raw)
    joined = b"".join(words)
    if len(joined) < _LEAST_HIGH_BYTES:
        return _of_traditional_signs(raw)
    leads, trails = joined[::2], joined[1::2]
    alphabet = _alphabet_of(words)
    if alphabet and not _is_short_name(raw, words):
        return raw.decode(alphabet)
    # The sign of repetition stands apart in Japanese (佐々木).
    signs_leads = [
        lead
        for lead, trail in zip(leads, trails, strict=False)
        if (lead, trail) != _REPETITION
    ]
    if (
        any(len(word) % 2 for word in words)
        or not 0xA4 <= min(signs_leads, default=0) <= max(leads) <= 0xF7
        or not 0xA1 <= min(trails) <= max(trails) <= 0xFE
    ):
        return _of_traditional_signs(raw)
    try:
        japanese = raw.decode("euc_jp")
    except UnicodeDecodeError:
        japanese = ""
    kana = sum(lead in (0xA4, 0xA5) for lead in leads)
    if kana >= _LEAST_KANA:
        return japanese
    korean_share = 0.0
    if min(leads) >= _FIRST_SIGN and max(leads) <= _LAST_HANGUL:
        korean_share = _common_share(raw, "euc_kr", _KOREAN)
    chinese_share = _common_share(raw, "gb18030", _CHINESE)
    # The same bytes are signs in all of them; names are written with few of them.
    for codec, names in (("euc_jp", _JAPANESE), ("big5", _TRADITIONAL)):
        share = _common_share(raw, codec, names)
        if share >= _LEAST_COMMON and share > max(korean_share, chinese_share):
            return raw.decode(codec)
    if min(leads) < _FIRST_SIGN:
        return ""
    if korean_share > 0.5 and (
        korean_share > chinese_share or _is_korean_name(raw.decode("euc_kr"))
    ):
        return raw.decode("euc_kr")
    # Rare signs alone are Hebrew, or small letters of Greek or Cyrillic.
    return "" if min(leads) >= _FIRST_RARE else raw.decode("gb18030")


def _is_short_name(raw: bytes, words: list[bytes]) -> bool:
    """Tell pairs that are all signs of names, so few that they may spell a word."""
    if sum(map(len, words)) > _SHORT_NAME_BYTES:
        return False
    odd = any(len(word) % 2 for word in words)
    sets = _NAMES_OF_ASCII_ENDS if odd else _NAMES_OF_HIGH_PAIRS
    return any(_common_share(raw, codec, names) == 1.0 for codec, names in sets)


def _is_korean_name(text: str) -> bool:
    """Tell whether text starts with a family name of Korea, which are few."""
    return next((x for x in text if not x.isascii()), "") in _KOREAN_FAMILIES


def _common_share(raw: bytes, codec: str, names: frozenset[str]) -> float:
    """Share of a text's signs that names are written with; 0 where it is none such."""
    try:
        signs = [letter for letter in raw.decode(codec) if not letter.isascii()]
    except UnicodeDecodeError:
        return 0.0
    return sum(sign in names for sign in signs) / max(1, len(signs))


def _alphabet_of(words: list[bytes]) -> str:
    """Name the codec of words of Cyrillic or Greek; empty for other words.

    The same bytes are capitals and small letters in several; where words can be spoken
    in one alone, that is it.
    """
    if max(map(len, words)) <= 2:
        return ""
    is_windows = all(_CYRILLIC.fullmatch(word) for word in words)
    for codec, shape in _ALPHABETS:
        # Few bytes in even numbers may be Chinese, too.
        is_sure = codec == "cp1251" or sum(map(len, words)) >= 8
        is_sure |= any(len(word) % 2 for word in words)
        is_of_it = is_sure and all(shape.fullmatch(word) for word in words)
        if is_of_it and _is_speakable(words, codec):
            return codec
    return "cp1251" if is_windows else ""


def _is_speakable(words: list[bytes], codec: str) -> bool:
    """Tell whether words have vowels, as names do, and few consonants in a row."""
    try:
        letters = [word.decode(codec).lower() for word in words]
    except UnicodeDecodeError:
        return False
    marks = ["".join("v" if x in _VOWELS else "c" for x in word) for word in letters]
    share = "".join(marks).count("v") / sum(map(len, marks))
    return 0.3 <= share <= 0.7 and not any("ccccc" in word for word in marks)


def _of_traditional_signs(raw: bytes) -> str:
    """Decode text as Big5 or GBK, whose pairs may end in ASCII; empty for other text.

    Chinese of Taiwan and Hong Kong is written in both, names in GBK where programs of
    the mainland write them.
    """
    return _gbk_or(_as_big5(raw), raw, "big5", _TRADITIONAL)


def _gbk_or(other: str, raw: bytes, codec: str, names: frozenset[str]) -> str:
    """Choose between a reading and GBK, by which has more of its common signs."""
    gbk = _as_gbk(raw)
    if not (other and gbk):
        return other or gbk
    in_other = _common_share(raw, codec, names)
    return gbk if _common_share(raw, "gbk", _CHINESE) > in_other else other


def _as_gbk(raw: bytes) -> str:
    """Decode text as GBK, where most signs are of Chinese names; empty for others."""
    try:
        text = raw.decode("gbk")
    except UnicodeDecodeError:
        return ""
    signs = [letter for letter in text if not letter.isascii()]
    is_mixed = any(
        re.search("[A-Za-z]", word) and not word.isascii()
        for word in _BETWEEN_SIGNS.split(text)
    )
    if len(signs) < 2 or is_mixed or not all("一" <= x <= "鿿" for x in signs):
        return ""
    return text if _common_share(raw, "gbk", _CHINESE) >= _LEAST_COMMON else ""


def _as_big5(raw: bytes) -> str:
    """Decode text as Big5, where it is plainly that; empty for other text.

    Half of its second bytes are ASCII, so that Latin words look alike: most signs have
    to be of names, or all of the first 5401, most from where Latin has no letters.
    """
    words = [word for word in re.split(rb"[=\s]+", raw) if not word.isascii()]
    # A second byte may be a circumflex, too.
    is_whole = all(_BIG5_WORD.fullmatch(word) for word in words)
    signs = [pair for word in words for pair in _BIG5_PAIR.findall(word)]
    if len(signs) < 2 or not is_whole:
        return ""
    no_letters = sum(pair[0] < 0xC0 for pair in signs)
    low = sum(pair[1] < 0x80 for pair in signs)
    is_of_names = _common_share(raw, "big5", _TRADITIONAL) >= _LEAST_COMMON
    is_common = all(pair[0] <= _LAST_COMMON_BIG5 for pair in signs)
    if not is_of_names and (
        2 * no_letters < len(signs) or 3 * low < len(signs) or not is_common
    ):
        return ""
    try:
        return raw.decode("big5")
    except UnicodeDecodeError:
        return ""


_CHINESE = _SIMPLIFIED | _TRADITIONAL
_NAMES_OF_ASCII_ENDS = (("gbk", _CHINESE), ("big5", _TRADITIONAL))
_NAMES_OF_HIGH_PAIRS = (
    *_NAMES_OF_ASCII_ENDS,
    ("euc_jp", _JAPANESE),
    ("euc_kr", _KOREAN),
)
_SHORT_NAME_BYTES = 8
_BETWEEN_SIGNS = re.compile(r"[\\^=\s,./()+-]+")
_BIG5_PAIR = re.compile(rb"[\xa4-\xc6\xc9-\xf9][\x40-\x7e\xa1-\xfe]")
_BIG5_WORD = re.compile(rb"(?:%b|\^)+" % _BIG5_PAIR.pattern)
_LAST_COMMON_BIG5 = 0xC6
_REPETITION = (0xA1, 0xB9)
_LEAST_COMMON = 0.6
"""Share of signs that names are written with, from which on a text is of its set."""

_LEAST_KANA = 3
_FIRST_SIGN = 0xB0
_LEAST_HIGH_BYTES = 4
_LAST_HANGUL = 0xC8
_FIRST_RARE = 0xD8
"""First byte of the pairs from which on GB 2312 has signs that are seldom used."""

_LATIN = ("iso8859", "latin_1", "UTF8")
"""Codecs that nothing but UTF-8 and Latin letters can have been meant by."""

_KANJI, _OLD_KANJI = b"\x1b$B", b"\x1b$@"
_LEFT_ESCAPES = re.compile(r"\x1b(\$\)[AC]|-[A-Z]|\([BJ]|\)I)")

_BARE_CODECS = {
    "iso2022_jp": "cp932",
    "iso2022_jp_2": "cp932",
    "euc_kr": "cp949",
    "GB2312": "gb18030",
    "iso_ir_58": "gb18030",
}
"""What senders write where they leave the escape sequences out."""


def _without_escapes(raw: bytes, encodings: list[str]) -> str:
    """Decode text of which the escape sequences were left out; empty where none fits.

    Of text whose set nobody states, Japanese in Shift-JIS is plain: no Latin letter
    stands beside its bytes, some of which are no letters at all.
    """
    for encoding in encodings:
        codec = _BARE_CODECS.get(encoding)
        if codec is None:
            continue
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    if not any(0x81 <= byte <= 0x9F for byte in raw):
        return _by_pairs(raw)
    return _gbk_or(_as_shift_jis(raw), raw, "cp932", _JAPANESE)


def _as_shift_jis(raw: bytes) -> str:
    try:
        text = raw.decode("cp932")
    except UnicodeDecodeError:
        return ""
    parts = re.split(r"[\\^=\s]", text)
    mixed = any(re.search("[A-Za-z]", x) and not x.isascii() for x in parts)
    private = any("\ue000" <= letter <= "\uf8ff" for letter in text)
    # Two letters of Windows make a sign, which is seldom one of names ("Šmíd").
    few = sum(not letter.isascii() for letter in text) <= 2
    chance = few and not any(
        letter in _JAPANESE or "\u3040" <= letter <= "\u30ff" for letter in text
    )
    return "" if mixed or private or chance else text


_PAIRS = frozenset(("GB18030", "GBK", "GB2312", "iso_ir_58", "euc_kr"))


def _by_stated_pairs(raw: bytes, encodings: list[str]) -> str:
    """Decode text as Chinese or Korean if so stated; empty where it is none.

    Such a pair may happen to be a letter of UTF-8 too, a Latin or Greek one.
    """
    stated = next((x for x in encodings if x in _PAIRS), None)
    joined = b"".join(_high_words(raw))
    if not (stated and joined) or min(joined) < 0xA1 or max(joined) >= 0xE0:
        return ""
    try:
        return raw.decode(_BARE_CODECS.get(stated, stated))
    except UnicodeDecodeError:
        return ""


def _text_of(raw: bytes, encodings: list[str]) -> str:
    """Decode text: as stated, unless it is plainly UTF-8; latin letters at worst."""
    from pydicom.charset import CODES_TO_ENCODINGS, decode_bytes

    raw = raw.rstrip(b" \0")
    if _ESCAPE not in raw:
        try:
            unicode = raw.decode("utf-8")
            return _by_stated_pairs(raw, encodings) or unicode
        except UnicodeDecodeError as error:
            # A name is cut at 64 bytes, in the middle of a letter if need be.
            if error.end == len(raw) and error.start >= len(raw) - 3 > 0:
                whole = raw[: error.start]
                if not whole.isascii():
                    return whole.decode("utf-8")
        if encodings[0] in _LATIN or encodings[0] in _BARE_CODECS:
            bare = _without_escapes(raw, encodings)
            if bare:
                return bare
        if encodings[0] in _LATIN:
            # Bytes from 80 to 9F are letters of Windows, and none of Latin-1.
            return raw.decode("cp1252" if _is_windows(raw) else "latin-1")
    # An escape sequence names its codec, whatever the tag says.
    raw = raw.replace(_OLD_KANJI, _KANJI)
    announced = [codec for mark, codec in CODES_TO_ENCODINGS.items() if mark in raw]
    known = list(dict.fromkeys((*encodings, *announced)))
    decoded = decode_bytes(raw, known, {ord(x) for x in "\\^="})
    if "\ufffd" in decoded:
        return raw.replace(_ESCAPE, b"").decode("latin-1")
    return _LEFT_ESCAPES.sub("", str(decoded))


def _is_windows(raw: bytes) -> bool:
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return any(0x80 <= byte <= 0x9F for byte in raw)


def integer(
    header: Dataset, keyword: str, name: str, default: int | None = None
) -> int:
    """Return one whole number that must be there, or the default.

    Raises
    ------
    DamagedFileError
        Where the tag is missing without a default, or holds something else.
    """
    try:
        value: Any = header.get(keyword)
    except Exception as error:
        raise _bad(keyword, name) from error
    if value is None or value == "":
        if default is None:
            raise DamagedFileError(f"{name} lacks the tag {keyword}.")
        return default
    if isinstance(value, bool | bytes | str) or not hasattr(value, "__int__"):
        raise _bad(keyword, name)
    try:
        return int(value)
    except (ValueError, OverflowError) as error:
        # Where another kind of number stands there, it may be none or infinite.
        raise _bad(keyword, name) from error


def numbers(
    header: Dataset, keyword: str | int, count: int
) -> tuple[float, ...] | None:
    """Return that many finite numbers, or None where the tag has none such."""
    try:
        value: Any = header.get(keyword)
        # A tag that is asked for by its number comes with its name and kind.
        value = getattr(value, "value", value) if isinstance(keyword, int) else value
        if value is None or isinstance(value, bytes):
            return None
        if isinstance(value, str):
            # Some senders state the kind of text for numbers.
            texts = value.split("\\")
            value = texts if count > 1 else value
        floats = tuple(float(x) for x in (value if count > 1 else (value,)))
    except Exception:
        # An optional tag that cannot be read counts as missing.
        return None
    good = len(floats) == count and all(math.isfinite(x) for x in floats)
    return floats if good else None


def text(header: Dataset, keyword: str) -> str:
    """Return a tag as text, its values joined by a backslash; empty where missing.

    A tag that holds a sequence is none.
    """
    try:
        value: Any = header.get(keyword)
    except Exception:
        return ""
    if value is None or isinstance(value, bytes):
        return ""
    # A person's name can be gone through letter by letter, and is one value.
    if isinstance(value, str) or hasattr(value, "family_name"):
        return str(value).strip()
    try:
        values = list(value)
    except TypeError:
        return str(value)
    # A damaged file may say that a text is a sequence, whose items can be anything.
    if any(hasattr(item, "get_item") for item in values):
        return ""
    return "\\".join(str(item) for item in values)


def patient_of(header: Dataset) -> str:
    """Read what tells patients apart: their number, else name and date of birth."""
    number = text(header, "PatientID")
    if number:
        return number
    return " ".join(
        text(header, x) for x in ("PatientName", "PatientBirthDate")
    ).strip()


def _bad(keyword: str, name: str) -> DamagedFileError:
    return DamagedFileError(f"{name} holds no whole number in the tag {keyword}.")


def listed_files(data: bytes, name: str) -> list[tuple[str, ...]]:
    """List the files of images that a DICOMDIR names.

    Parameters
    ----------
    data
        The whole DICOMDIR.
    name
        The name of the file, for messages.

    Returns
    -------
    list of tuple of str
        Folders of each file below the DICOMDIR's own, then its name.

    Raises
    ------
    DamagedFileError
        Where it is broken.
    """
    header = parse(data, name)
    files = []
    with quiet():
        try:
            for record in header.get("DirectoryRecordSequence") or ():
                parts = tuple(text(record, "ReferencedFileID").split("\\"))
                if parts[0] and text(record, "DirectoryRecordType") == "IMAGE":
                    files.append(parts)
        # pydicom reads an element when it is asked for, and raises what it likes.
        except Exception as error:
            raise DamagedFileError(
                f"{name} lists its files in a broken way."
            ) from error
    return files
